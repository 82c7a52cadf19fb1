"""Results of several labs: studies packed into archives, archives of others merged, shards computed anew."""

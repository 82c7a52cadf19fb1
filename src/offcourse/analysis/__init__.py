"""From hits to accuracies, recoveries and best settings: tables in, tables out, no model and no drawing."""

"""Why a change redoes more than it moves: a regular expression of changes ("where: what"), and the reason."""

REASONS: dict[str, str] = {
    r"claims\.tsv": "the table of claims is read whole, by its digest",
    r"released/digests\.tsv": "the released tables that the report shows are read by their digests in this file",
    r"resources/findings/": "the figure reads the tracked numbers whole, by the digest of their file",
    r"resources/paper/": "the printed tables are read whole, by the digest of their folder",
    r"models\.tsv: (layers|heads|kv_heads|head_dim|width|mlp_width|vocabulary)": "the check holds the loaded model "
    "against the cell, and every step waits for the check; steps take their results from the store",
    r"models\.tsv: (source|revision)": "another source or revision may be another model; the prompts follow the "
    "prepared folder, and stay as they are when its files do",
    r"tasks\.tsv: group": "the tables and figures show tasks by group, also where no number depends on the group",
    r"questions/": "the digest is of whole rows, also where a form of the questions shows some columns alone",
    r"models\.tsv: (family|norm|position_embedding|activation|attention|tokens|learning_rate|staged_pretraining|"
    r"post_trained|base|licence|gated)": "`model.json` holds the cell, and every step waits for it; steps take their "
    "results from the store",
    r"resources/words/": "a word that no prompt of so small a study draws is in the digest of its list all the same",
    r"configuration: protocol": "a model of random weights shows no difference, or the results that would are empty",
    r"configuration: (tasks|function_vectors\.tasks|task_vectors\.tasks|dola\.questions|tasks \(one less\))$": "a job "
    "makes the results of all tasks of a model: with fewer tasks the job's list of files is another, so Snakemake runs "
    "the job, which takes every result from the store; what is drawn from fewer tasks may give the same numbers",
    r"configuration: tasks \(order\)": "rows and panels follow the order of the tasks, also where one task is shown",
    r"configuration: methods \(one less\)": "a model is checked for the methods of its study",
    r"configuration: function_vectors\.large": "the grid of large models is read, also where no model is large",
    r"configuration: numerics\.max_rows": "another number of rows moves last digits, and of so small a model no hit",
    r"vector file: metadata": "the file is in every key by its sha256, as a whole; its numbers are those of before",
    r"code: (steering/prompting|methods/reliability)\.py": "hits of a model of random weights stay, "
    "whatever is asked or added at random",
    r"model .*: ": "the check holds every file of the folder against the manifest",
    r"package: ": "a package that another counted package computes with counts as well",
}

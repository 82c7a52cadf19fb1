# The authors' files that a study reads: word lists and question sets, each checked against its pinned sha256. They are
# shared by all studies, so the output is a list of them that belongs to the study.

from offcourse.data.fetched import pinned_files


rule fetch_words:
    output:
        release_lists(),
    log:
        RESULTS / "logs/fetch_words.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        files=pinned_files(list_files(STUDY, REGISTRY)),
    script:
        "../workflow/scripts/fetch_inputs.py"


rule fetch_questions:
    output:
        release_questions(),
    log:
        RESULTS / "logs/fetch_questions.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        files=pinned_files(question_files(STUDY, REGISTRY)),
    script:
        "../workflow/scripts/fetch_inputs.py"

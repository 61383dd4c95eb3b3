"""How neurons group together: `sparsity-lab structure`.

In: a model, a text and thresholds. Out: `structure_records/`, tables, and `structure.json`. The first half of the text
finds, the second half judges; what several records say together (domains, checkpoints) is computed from the records.

    spec.py        what is asked: clusters, comparisons, texts
    counts.py      `Layout` (units of windows, halves, sampled neurons) and the additive counts of the first pass
    survey.py      first pass, over the whole text: who fires in each unit, and who fires together in each half
    clustering/    neurons -> clusters, and a second pass over the second half that judges them
    api.py         both passes on a live model
    rows.py        the numbers of one record as rows: errors, and p-values against random clusters
    record.py      every key and array of a record; reads back what the comparisons need
    roles/         comparisons across records: domains of text, checkpoints of one run
    tables.py      the tables of a run, the comparisons among them
    run.py         what one cell does, and what is written of all

What to know: pairs are counted among all neurons of a layer, or a seeded sample if there are more than `most_neurons`.
A cluster is compared with random ones of the same sizes and with ones matched in firing frequency, so that what
frequency alone explains is not taken for structure. Of a mixture of experts only the routers' choices are followed.
"""

"""Thresholds on a neuron's score: how those of equal CETT are found, and how any are applied.

In: passes over a text. Out: one threshold eps_l a layer, and a mask that drops a neuron where its score is at most
eps_l. CETT is the share of a layer's output that the dropped neurons make up together: the norm of their summed output
over the norm of the whole, averaged over tokens.

    cett_passes.py   dense passes that measure CETT at chosen thresholds: a pilot over all scores, then an exact one
                     close to the answer
    cett_curves.py   CETT against threshold, layer by layer, and its inverse eps_l(c)
    cett_fine.py     passes that resolve the curves around one c, activation by activation
    tau.py           a threshold on the score |a_i| w_i as one on |a_i|: the same mask, bit for bit
    masks.py         the sparse run: sets dropped activations to zero and counts the rest
    applied.py       the mask of stored thresholds, for runs whose neurons are watched or that are applied only
    stored.py        thresholds of a record, checked and ready for another text of a model of the same shape

What to know: w_i is the norm of neuron i's column of W_d. The comparison is `<=` in float32, when calibrating and when
applying. Calibrated thresholds always come from the dense run. Exact zeros are inactive at any threshold.
"""

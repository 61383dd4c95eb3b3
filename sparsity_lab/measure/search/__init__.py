"""How the knob at PPL-p% is found, and how sure the numbers are.

In: a `Subject` (a proved model and its windows), a criterion and a target. Out: a `Measurement`: the knob, counts of
the dense and the sparse run, thresholds, errors and flags. The search runs on x, a coordinate of the knob (ln or
logit) in which more is dropped as x grows and ln(loss rise) is nearly a straight line. The value sought is the loss
rise L_sparse - L_dense in nats, the target ln(1 + p).

    settings.py      a cell's setting (fixed knob, p, ratio, series knob, thresholds), its content key, and the call
    engine.py        one function for each kind of setting; `_searched` is the search, in the five steps below
    steps.py         these steps: `Runner`, which holds the calibration and every evaluation made so far
    targets.py       what is sought: a rise of perplexity, or an activation ratio (as odds of being dropped)
    root.py          the root: secant steps in x, kept inside a bracket
    crossing.py      the crossing: where a curve fitted to all nearby evaluations meets the target
    noise.py         replicates of the sample
    errors.py        the errors of an answer that follow from them
    counts.py        the additive counts of one pass
    measurement.py   the results: `Evaluation` (one sparse run), `Errors`, `Measurement`

1. Pilot. On an eighth of the windows (all of them for a mixture of experts), a rough calibration and at most four
   sparse runs bring x close.
2. Calibration. A dense pass over the whole text, exact around that knob. A knob outside the range it covers causes
   another such pass.
3. Root. Sparse runs over the whole text, each at the next x of the secant. It ends when the rise is within a quarter
   of its own standard error of the target (at least 0.2 % and at most 10 % of the target), from the third run on when
   two runs bracket the target closely, and after eight runs at the latest.
4. Crossing. Neurons flip at their thresholds, so the rise jitters and the last run is no better than its neighbors. A
   monotone curve through all runs near the best one gives x*; one more sparse run is made there if the best run is too
   far off. If thresholds at the answer are interpolated and doubtful, steps 3 and 4 are repeated with thresholds
   refined at every run.
5. Noise. Replicates weigh the windows in other ways, always the dense and the sparse loss of a window together. Each
   moves x* by the slopes seen on both sides of it, which gives the knob's interval; where the search has not been on
   one side, a quarter of the windows are run there. By how much the ratio moves with x is added to the ratio's own
   deviation. At a fixed c each replicate also finds the thresholds itself, layer by layer, from the windows' sums of
   CETT; under the other criteria that calibrate, errors are at the thresholds found, and records say so.

At a fixed knob there is no search: pilot, calibration, refinement and one sparse run. Given thresholds need a dense
and a sparse run. A search for an activation ratio needs no fitted curve, since its value is an exact count.

Where the tuned constants are:

    root.py       step sizes, brackets, MOST_EVALUATIONS     targets.py    tolerances, and when a flag is raised
    crossing.py   reach and weights of the local fit         steps.py      runs allowed, spans
    noise.py      number of replicates and blocks            engine.py     FIXED_SPAN, ALGORITHM
    model/passes.py   size of the pilot
    criteria/     each KNOB: start, range, slope expected; the slivers left out at the ends of a range

The series rule has constants of its own in `series_rule.py`, a growing text in `work/text_length.py`.

A change that moves a number must raise `engine.ALGORITHM`: it is part of every content key, so old records then cannot
be mistaken for new ones.
"""

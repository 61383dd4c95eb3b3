"""FFNs small enough to compute by hand, and the ends of the knob's range."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sparsity_lab.measure.api import measure, sparsified
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.search import engine

PEAK = 8.0


class OneFfn(nn.Module):
    """A causal LM of one FFN: token t has the activations table[t]; it expects token t + 1 to follow.

    y = W_d a is added to the logits, so that dropping neurons changes the loss.
    """

    def __init__(self, table, down):
        super().__init__()
        tokens, neurons = table.shape
        self.embedding = nn.Embedding.from_pretrained(table)
        self.down = nn.Linear(neurons, down.shape[0], bias=False)
        self.down.weight.data = down
        self.expected = nn.Buffer(PEAK * torch.eye(tokens).roll(1, dims=1))

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids, use_cache=False):
        y = self.down(self.embedding(input_ids))
        logits = self.expected[input_ids]
        logits[..., : y.shape[-1]] += y
        return SimpleNamespace(logits=logits)


def subject_of(table, down, *, windows=4, window=None, batch_size=4, bos_id=None):
    model = OneFfn(torch.tensor(table), torch.tensor(down)).eval()
    site = FfnSite(layer=0, name="ffn", down=model.down, activation=None, up=None, gated=False)
    width = window or len(table)
    ids = torch.arange(windows * width) % len(table)
    return Subject(model, [site], cut(ids, window=width, bos_id=bos_id), batch_size)


def orthonormal(rows, columns, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(rows, columns)))[0].astype(np.float32)


@pytest.mark.parametrize("knob", [0.02, 0.1, 0.3, 0.6])
def test_with_orthonormal_columns_cett_is_the_share_of_the_activations_norm(knob):
    table = np.random.default_rng(1).normal(size=(60, 40)).astype(np.float32) * 0.3
    found = engine.at_knob(subject_of(table, orthonormal(50, 40)), criterion="cett", knob=knob)
    squares = table.astype(np.float64) ** 2
    size = np.abs(table)

    def mean_cett(eps):
        """sqrt(sum over D of a^2 / sum of a^2), the mean over tokens."""
        return np.sqrt(np.where(size <= eps, squares, 0).sum(axis=1) / squares.sum(axis=1)).mean()

    scores = np.sort(size.ravel())
    largest = scores[np.flatnonzero([mean_cett(eps) <= knob for eps in scores])[-1]]
    (eps,) = found.thresholds
    # The curve is a staircase of one step an activation; interpolation may take the next step.
    assert abs(int((scores <= eps).sum()) - int((scores <= largest).sum())) <= 1
    assert found.sparse.active.sum() == 4 * (size > eps).sum()
    assert found.activation_ratio == (size > eps).mean()


def test_a_token_without_output_is_counted_and_has_cett_0():
    table = np.random.default_rng(2).normal(size=(40, 30)).astype(np.float32) * 0.3
    table[5] = table[17] = 0.0
    found = engine.at_knob(subject_of(table, orthonormal(40, 30)), criterion="cett", knob=0.2)
    assert found.sums.zero_outputs.sum(axis=0).tolist() == [2 * 4]
    assert found.nonzero_ratio == 38 / 40
    (eps,) = found.thresholds
    squares = table.astype(np.float64) ** 2
    shares = np.sqrt(
        np.where(np.abs(table) <= eps, squares, 0).sum(axis=1) / np.maximum(squares.sum(axis=1), 1e-30)
    )
    assert shares[[5, 17]].tolist() == [0.0, 0.0]
    assert shares.mean() == pytest.approx(0.2, abs=1.5 / table.size), (
        "the mean is over all tokens, these two too"
    )


def test_exact_zeros_are_inactive_at_every_threshold():
    table = np.random.default_rng(3).normal(size=(40, 30)).astype(np.float32) * 0.3
    table[table < 0] = 0.0
    positive = int((table > 0).sum())
    at_zero = engine.at_knob(subject_of(table, orthonormal(40, 30)), criterion="cett", knob=0.0)
    assert at_zero.thresholds == [0.0]
    assert at_zero.sparse.active.sum() == 4 * positive
    assert at_zero.activation_ratio == at_zero.nonzero_ratio == positive / table.size
    small = engine.at_knob(subject_of(table, orthonormal(40, 30)), criterion="cett", knob=0.01)
    assert small.sparse.active.sum() <= 4 * positive


def test_neurons_that_lead_nowhere_are_dropped_at_once():
    down = orthonormal(40, 30)
    down[:, 7] = 0.0
    table = np.abs(np.random.default_rng(4).normal(size=(40, 30))).astype(np.float32) * 0.3
    found = engine.at_knob(subject_of(table, down), criterion="cett", knob=0.05)
    limit = np.sort(table[:, [i for i in range(30) if i != 7]].ravel())
    assert found.sparse.active.sum() == 4 * (limit > found.thresholds[0]).sum()
    assert found.loss_delta_nats < 0.05


@pytest.mark.parametrize(
    ("knob", "kept"),
    [(0.2, 4), (0.4, 3), (0.65, 2), (0.9, 1)],
)
def test_four_neurons_by_hand(knob, kept):
    # Even tokens fire (.3, .4), odd ones (.6, .8). Mean CETT: 0 below .3, then .3, .5 from .4, .8 from .6, 1 from .8.
    even, odd = [0.3, 0.4, 0.0, 0.0], [0.0, 0.0, 0.6, 0.8]
    table = np.array([even, odd, even, odd], dtype=np.float32)
    subject = subject_of(table, np.eye(4, dtype=np.float32), windows=20)
    found = engine.at_knob(subject, criterion="cett", knob=knob)
    assert found.sparse.active.sum() == 20 * 2 * kept


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_c_0_is_the_dense_run_and_c_1_drops_all(llama, own_text, activation):
    model = llama(activation=activation)
    ids = own_text(model)
    none = measure(model, ids, knob=0.0, window=64)
    assert np.array_equal(none.sparse.loss_nats, none.dense.loss_nats)
    assert none.ppl_ratio == 1.0
    assert none.thresholds == [0.0, 0.0]
    assert none.activation_ratio == none.nonzero_ratio
    with torch.no_grad(), sparsified(model, none.thresholds):
        masked = model(input_ids=ids.view(-1, 64)).logits
    with torch.no_grad():
        assert torch.equal(masked, model(input_ids=ids.view(-1, 64)).logits)
    every = measure(model, ids, knob=1.0, window=64)
    assert every.sparse.active.sum() == 0
    assert every.activation_ratio == 0.0
    with torch.no_grad():
        for block in model.model.layers:
            block.mlp.down_proj.weight.zero_()
        without = model(input_ids=ids.view(-1, 64)).logits.double().log_softmax(dim=-1)
    loss = -without[:, :-1].gather(2, ids.view(-1, 64)[:, 1:, None]).mean()
    assert every.sparse.mean_loss_nats() == pytest.approx(float(loss), abs=1e-5)


def test_a_bos_is_masked_like_any_token_and_not_counted():
    # The BOS is token 0; as it stands in front of each window it must change no sum of the valid ones.
    table = np.random.default_rng(5).normal(size=(40, 30)).astype(np.float32) * 0.3
    plain = engine.at_knob(subject_of(table, orthonormal(40, 30)), criterion="cett", knob=0.2)
    table_with_loud_bos = np.concatenate([table, 3 * np.ones((1, 30), np.float32)])
    subject = subject_of(table_with_loud_bos, orthonormal(40, 30), window=40)
    ids = torch.arange(160) % 40
    subject.windows = cut(ids, window=40, bos_id=40)
    loud = engine.at_knob(subject, criterion="cett", knob=0.2)
    assert loud.thresholds == pytest.approx(plain.thresholds, rel=1e-3)
    assert loud.sparse.seen.tolist() == [40] * 4
    assert loud.sparse.predicted.tolist() == [40] * 4
    assert plain.sparse.predicted.tolist() == [39] * 4
    assert np.array_equal(loud.sparse.active, plain.sparse.active)


def test_losses_by_hand():
    # Every token expects its successor by PEAK nats more than the others: the loss is the same everywhere.
    table = np.zeros((10, 4), dtype=np.float32)
    table[:, 0] = 0.5
    down = np.zeros((10, 4), dtype=np.float32)
    found = engine.at_knob(subject_of(table, down), criterion="cett", knob=0.1)
    assert found.dense.mean_loss_nats() == pytest.approx(math.log1p(9 * math.exp(-PEAK)), rel=1e-4)
    assert found.sums.zero_outputs.sum() == 40
    assert found.ppl_ratio == 1.0

"""The stretched exponential that rises: A(D) = A0 - exp(b - c D^alpha), `logspace-power` turned over.

The Sparsing Law (arXiv 2411.02335) fits runs that rise with the power law alone; this is the rival that its law of
runs that fall makes for them.
"""

from __future__ import annotations

from sparsity_lab.laws.logspace_power import LogspacePower


class RisingExponential(LogspacePower):
    """A = A0 - exp(b - c D^alpha)."""

    name = "rising-exponential"
    formula = "A = A0 - exp(b - c D^alpha)"
    latex = r"A(D) = A_0 - \exp(b - c\,D^{\alpha})"
    source = "rival law; Sparsing Law, arXiv 2411.02335, equation 4, increasing towards its limit"
    typed = "A0 - exp(b - c*x^alpha)"
    sign = -1.0


LAW = RisingExponential()

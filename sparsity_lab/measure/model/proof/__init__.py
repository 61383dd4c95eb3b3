"""Shows on a few tokens that sites are what they are taken for, found or described; refuses the model where not.

check.py         compares, site by site and expert by expert, what passes by with what it should be
certificate.py   what was proved, as a sentence and as a record keeps it
"""

from sparsity_lab.measure.model.proof.certificate import Certificate as Certificate
from sparsity_lab.measure.model.proof.certificate import FoundSites as FoundSites
from sparsity_lab.measure.model.proof.check import check_sites as check_sites
from sparsity_lab.measure.model.proof.check import not_as_described as not_as_described
from sparsity_lab.measure.model.proof.check import overflow as overflow
from sparsity_lab.measure.model.proof.check import refuse_dtype as refuse_dtype

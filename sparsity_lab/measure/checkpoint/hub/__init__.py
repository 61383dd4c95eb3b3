"""The Hub: which commit a revision is, its files in this machine's cache, and what its refusals mean.

asking.py    asks and downloads, in bounded time; a Hub that is busy is asked again when it says
answers.py   what a refusal or a lost network means to whoever reads the message
xet.py       downloads over plain HTTP where the Hub's Xet storage fails
"""

from sparsity_lab.measure.checkpoint.hub.answers import HUB_FIX as HUB_FIX
from sparsity_lab.measure.checkpoint.hub.answers import advice as advice
from sparsity_lab.measure.checkpoint.hub.answers import causes as causes
from sparsity_lab.measure.checkpoint.hub.answers import reason as reason
from sparsity_lab.measure.checkpoint.hub.asking import bring as bring
from sparsity_lab.measure.checkpoint.hub.asking import bring_weights as bring_weights
from sparsity_lab.measure.checkpoint.hub.asking import cached as cached
from sparsity_lab.measure.checkpoint.hub.asking import dataset_commit as dataset_commit
from sparsity_lab.measure.checkpoint.hub.asking import describe as describe
from sparsity_lab.measure.checkpoint.hub.asking import not_in_cache as not_in_cache
from sparsity_lab.measure.checkpoint.hub.asking import not_loaded as not_loaded
from sparsity_lab.measure.checkpoint.hub.xet import or_plain_http as or_plain_http

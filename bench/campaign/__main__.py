"""`python -m bench.campaign`: see `replay`."""

import sys

from bench.campaign.replay import main

sys.exit(main())

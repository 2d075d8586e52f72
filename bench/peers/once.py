# SPDX-License-Identifier: MIT
"""One request in the first argument, one answer."""
import json
import sys

scope = {}
code, value = json.loads(sys.argv[1])
exec(code, scope)
print(json.dumps(scope["execute"](value)))

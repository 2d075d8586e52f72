# SPDX-License-Identifier: MIT
# The header of a program from after each struct has grown.
s/NOE_FAULT_NONE, 0, "", ""/&, 0/
/^struct noe_\(error\|limits\|sandbox\|stream\|options\|result\) {/,/^};/{
  s/^};/    uint64_t later;\n};/
}

/* SPDX-License-Identifier: MIT */
#ifndef NOE_RESULT_H
#define NOE_RESULT_H

#include "process.h"

/* What came of a run whose child has ended. */

/* By us or by the jail. */
bool noe_result_was_ended(const struct noe_process *p);

/* Whether the program never ran: then there is a failure, and no result. */
bool noe_result_nothing_ran(const struct noe_process *p);

/* Says why, where nobody has. */
void noe_result_explain(struct noe_process *p);

/* `status` is the program's, as from wait, if there is one. */
void noe_result_fill(struct noe_process *p, bool has_status, int status);

#endif

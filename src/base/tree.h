/* SPDX-License-Identifier: MIT */
#ifndef NOE_TREE_H
#define NOE_TREE_H

/*
 * Removes `base` from the directory `parent`, with everything below it; what is
 * not there, is done. Takes any depth and number of files and directories
 * without permissions. Never follows a link and never enters another mount:
 * those, and what cannot be removed, stay, and the first failure is reported
 * after everything else has gone. 0, or -1 with errno.
 *
 * Used by the jail too, so it needs no more than the C library.
 */
int noe_tree_remove_at(int parent, const char *base);

#endif

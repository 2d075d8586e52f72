/* SPDX-License-Identifier: MIT */
/* The least that can be run: what starting a program costs by itself. */
int main(void)
{
    return 0;
}

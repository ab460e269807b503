// SPDX-License-Identifier: GPL-2.0
/* The examples as one module, which is built and never loaded. */
#include <linux/module.h>

MODULE_DESCRIPTION("Examples from the documentation of hmm_mirror");
MODULE_LICENSE("GPL");

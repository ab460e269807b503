// SPDX-License-Identifier: GPL-2.0
/*
 * A module of the driver: mirrors the program that loads it.
 */
#include <linux/module.h>

#include "../core/nested.h"

static struct nested nested;

static int __init nested_dev_init(void)
{
	return nested_begin(&nested);
}

static void __exit nested_dev_exit(void)
{
	pr_info("%u invalidations\n", nested_end(&nested));
}

module_init(nested_dev_init);
module_exit(nested_dev_exit);

MODULE_DESCRIPTION("A driver of several modules on hmm_mirror: one of them");
MODULE_AUTHOR("hmm_mirror developers");
MODULE_LICENSE("GPL");

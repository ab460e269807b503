/* SPDX-License-Identifier: GPL-2.0 */
#ifndef NESTED_H
#define NESTED_H

#include "hmm_mirror.h"

/* A mirror that counts the invalidations of its mm. */
struct nested {
	struct hmm_mirror mirror;
	atomic_t invalidations;
};

int nested_begin(struct nested *nested);
unsigned int nested_end(struct nested *nested);

#endif

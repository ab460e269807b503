// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: KUnit tests of the legacy header for Linux 5.2.
 */
#include "hmm_mirror_test.h"
#include "legacy/hmm_5_2.h"

#define LEGACY_SUITE	hmm_mirror_legacy_5_2_suite
#define LEGACY_NAME	"hmm_mirror_legacy_5_2"

#include "hmm_mirror_test_legacy.h"

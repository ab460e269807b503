// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: where the tracepoints of hmm_trace.h are.
 */
#define CREATE_TRACE_POINTS
#include "hmm_trace.h"

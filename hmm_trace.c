// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: define the tracepoints of hmm_trace.h.
 */
#define CREATE_TRACE_POINTS
#include "hmm_trace.h"

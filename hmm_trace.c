// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: define the tracepoints of hmm_trace.h, and find the process of an mm for them.
 *
 * Owns no data. An RCU section protects the process.
 */
#include <linux/sched/task.h>
#include <linux/string.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include "hmm_trace.h"

/*
 * Return the process of @mm, and its name if @comm is not NULL; 0 and "" if there is none, and
 * without CONFIG_MEMCG. It need not be the process that faults, which can be a worker.
 */
pid_t hmm_mirror_owner(const struct mm_struct *mm, char comm[TASK_COMM_LEN])
{
	struct task_struct *owner = NULL;
	pid_t pid = 0;

	if (comm)
		comm[0] = '\0';
	rcu_read_lock();
#ifdef CONFIG_MEMCG
	owner = rcu_dereference(mm->owner);
#endif
	if (owner) {
		pid = task_tgid_nr(owner);
		if (comm)
			strscpy(comm, owner->comm, TASK_COMM_LEN);
	}
	rcu_read_unlock();
	return pid;
}

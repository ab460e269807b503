// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror: define the tracepoints of hmm_trace.h.
 */
#include <linux/sched/task.h>
#include <linux/string.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include "hmm_trace.h"

/*
 * Return the process of @mm, and its name if @comm is not NULL; 0 and "" if there is none, and
 * without CONFIG_MEMCG. A worker that faults is another process.
 */
pid_t hmm_mirror_owner(const struct mm_struct *mm, char comm[TASK_COMM_LEN])
{
	pid_t pid = 0;

	if (comm)
		comm[0] = '\0';
#ifdef CONFIG_MEMCG
	{
		struct task_struct *owner;

		rcu_read_lock();
		owner = rcu_dereference(mm->owner);
		if (owner) {
			pid = task_tgid_nr(owner);
			if (comm)
				strscpy(comm, owner->comm, TASK_COMM_LEN);
		}
		rcu_read_unlock();
	}
#endif
	return pid;
}

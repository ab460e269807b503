/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: tracepoints. Each is a nop until it is enabled.
 *
 * On the mm side, one thread traces invalidate_start and invalidate_end. On the fault side,
 * one thread traces wait_begin and wait_end, fault_begin and fault_end, and collision when it
 * detects one. Either side traces walk_pause. tools/hmm_mirror_trace draws a trace.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hmm_mirror

#if !defined(HMM_MIRROR_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define HMM_MIRROR_TRACE_H

#include <linux/tracepoint.h>

#include "internal.h"
#include "compat/compat.h"

/* The events of mmu notifiers, with names for programs that decode a trace. */
#define HMM_MIRROR_EVENTS					\
	EM(MMU_NOTIFY_UNMAP,		"unmap")		\
	EM(MMU_NOTIFY_CLEAR,		"clear")		\
	EM(MMU_NOTIFY_PROTECTION_VMA,	"protection_vma")	\
	EM(MMU_NOTIFY_PROTECTION_PAGE,	"protection_page")	\
	EM(MMU_NOTIFY_SOFT_DIRTY,	"soft_dirty")		\
	EM(MMU_NOTIFY_RELEASE,		"release")		\
	HMM_MIRROR_COMPAT_EVENTS				\
	EM_LAST(MMU_NOTIFY_MIGRATE,		"migrate")

#undef EM
#undef EM_LAST
#define EM(event, name)		TRACE_DEFINE_ENUM(event);
#define EM_LAST(event, name)	TRACE_DEFINE_ENUM(event);

HMM_MIRROR_EVENTS

#undef EM
#undef EM_LAST
#define EM(event, name)		{ event, name },
#define EM_LAST(event, name)	{ event, name }

/*
 * @slot: number of the slot of @update; slot 8 is shared. @hits: ranges that @update intersects.
 */
TRACE_EVENT(hmm_mirror_invalidate_start,
	TP_PROTO(const struct mm_struct *mm, const struct mmu_notifier_range *update,
		 unsigned int slot, unsigned long hits),
	TP_ARGS(mm, update, slot, hits),
	TP_STRUCT__entry(
		__field(const void *,	mm)
		__field(unsigned long,	start)
		__field(unsigned long,	end)
		__field(unsigned long,	hits)
		__field(unsigned int,	event)
		__field(unsigned int,	slot)
		__field(bool,		blockable)
	),
	TP_fast_assign(
		__entry->mm = mm;
		__entry->start = update->start;
		__entry->end = update->end;
		__entry->hits = hits;
		__entry->event = update->event;
		__entry->slot = slot;
		__entry->blockable = mmu_notifier_range_blockable(update);
	),
	TP_printk("mm=%p start=0x%lx end=0x%lx event=%s blockable=%d slot=%u hits=%lu",
		  __entry->mm, __entry->start, __entry->end,
		  __print_symbolic(__entry->event, HMM_MIRROR_EVENTS),
		  __entry->blockable, __entry->slot, __entry->hits)
);

TRACE_EVENT(hmm_mirror_invalidate_end,
	TP_PROTO(const struct mm_struct *mm, const struct mmu_notifier_range *update,
		 unsigned int slot),
	TP_ARGS(mm, update, slot),
	TP_STRUCT__entry(
		__field(const void *,	mm)
		__field(unsigned long,	start)
		__field(unsigned long,	end)
		__field(unsigned int,	slot)
	),
	TP_fast_assign(
		__entry->mm = mm;
		__entry->start = update->start;
		__entry->end = update->end;
		__entry->slot = slot;
	),
	TP_printk("mm=%p start=0x%lx end=0x%lx slot=%u",
		  __entry->mm, __entry->start, __entry->end, __entry->slot)
);

/* A callback returned -EAGAIN, so the mm does not change the page table. */
TRACE_EVENT(hmm_mirror_nonblock_failure,
	TP_PROTO(const struct hmm_mirror *mirror,
		 const struct mmu_notifier_range *update),
	TP_ARGS(mirror, update),
	TP_STRUCT__entry(
		__field(const void *,	mm)
		__field(const void *,	mirror)
		__field(unsigned long,	start)
		__field(unsigned long,	end)
	),
	TP_fast_assign(
		__entry->mm = mirror->mm;
		__entry->mirror = mirror;
		__entry->start = update->start;
		__entry->end = update->end;
	),
	TP_printk("mm=%p mirror=%p start=0x%lx end=0x%lx",
		  __entry->mm, __entry->mirror, __entry->start, __entry->end)
);

DECLARE_EVENT_CLASS(hmm_mirror_range,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_range *range,
		 unsigned long start, unsigned long end),
	TP_ARGS(mm, range, start, end),
	TP_STRUCT__entry(
		__field(const void *,	mm)
		__field(const void *,	range)
		__field(unsigned long,	start)
		__field(unsigned long,	end)
		__field(pid_t,		owner)
	),
	TP_fast_assign(
		__entry->mm = mm;
		__entry->range = range;
		__entry->start = start;
		__entry->end = end;
		__entry->owner = hmm_mirror_owner(mm, NULL);
	),
	TP_printk("mm=%p owner=%d range=%p start=0x%lx end=0x%lx",
		  __entry->mm, __entry->owner, __entry->range, __entry->start, __entry->end)
);

DEFINE_EVENT(hmm_mirror_range, hmm_mirror_range_register,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_range *range,
		 unsigned long start, unsigned long end),
	TP_ARGS(mm, range, start, end));

DEFINE_EVENT(hmm_mirror_range, hmm_mirror_range_unregister,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_range *range,
		 unsigned long start, unsigned long end),
	TP_ARGS(mm, range, start, end));

/* @start, @end: of the invalidation that the thread waits for; 0, 0 for the shared slot. */
DEFINE_EVENT(hmm_mirror_range, hmm_mirror_wait_begin,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_range *range,
		 unsigned long start, unsigned long end),
	TP_ARGS(mm, range, start, end));

DECLARE_EVENT_CLASS(hmm_mirror_fault,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_range *range,
		 const struct hmm_mirror_fault *fault, int ret),
	TP_ARGS(mm, range, fault, ret),
	TP_STRUCT__entry(
		__field(const void *,	mm)
		__field(const void *,	range)
		__field(unsigned long,	start)
		__field(unsigned long,	end)
		__field(unsigned long,	flags)
		__field(pid_t,		owner)
		__field(int,		ret)
		__array(char,		comm, TASK_COMM_LEN)
	),
	TP_fast_assign(
		__entry->mm = mm;
		__entry->range = range;
		__entry->start = fault->start;
		__entry->end = fault->end;
		__entry->flags = fault->default_flags;
		__entry->owner = hmm_mirror_owner(mm, __entry->comm);
		__entry->ret = ret;
	),
	TP_printk("mm=%p owner=%d range=%p start=0x%lx end=0x%lx access=%s ret=%d comm=%s",
		  __entry->mm, __entry->owner, __entry->range, __entry->start, __entry->end,
		  !(__entry->flags & HMM_PFN_REQ_FAULT) ? "none" :
		  __entry->flags & HMM_PFN_REQ_WRITE ? "write" : "read", __entry->ret,
		  __entry->comm)
);

/* The thread reads the pages of @fault. @ret is 0. */
DEFINE_EVENT(hmm_mirror_fault, hmm_mirror_fault_begin,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_range *range,
		 const struct hmm_mirror_fault *fault, int ret),
	TP_ARGS(mm, range, fault, ret));

DEFINE_EVENT(hmm_mirror_fault, hmm_mirror_fault_end,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_range *range,
		 const struct hmm_mirror_fault *fault, int ret),
	TP_ARGS(mm, range, fault, ret));

/* The thread must discard the pages of [@start, @end) that it has read. */
DEFINE_EVENT(hmm_mirror_range, hmm_mirror_collision,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_range *range,
		 unsigned long start, unsigned long end),
	TP_ARGS(mm, range, start, end));

TRACE_EVENT(hmm_mirror_wait_end,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_range *range,
		 u64 waited_ns, int ret),
	TP_ARGS(mm, range, waited_ns, ret),
	TP_STRUCT__entry(
		__field(const void *,	mm)
		__field(const void *,	range)
		__field(u64,		waited_ns)
		__field(pid_t,		owner)
		__field(int,		ret)
	),
	TP_fast_assign(
		__entry->mm = mm;
		__entry->range = range;
		__entry->waited_ns = waited_ns;
		__entry->owner = hmm_mirror_owner(mm, NULL);
		__entry->ret = ret;
	),
	TP_printk("mm=%p owner=%d range=%p waited_ns=%llu ret=%d",
		  __entry->mm, __entry->owner, __entry->range, __entry->waited_ns, __entry->ret)
);

/* A function that visits many ranges has let other threads have the lock of the mm. */
TRACE_EVENT(hmm_mirror_walk_pause,
	TP_PROTO(const struct mm_struct *mm, const struct hmm_mirror_walk *walk),
	TP_ARGS(mm, walk),
	TP_STRUCT__entry(
		__field(const void *,	mm)
		__field(unsigned long,	start)
		__field(unsigned long,	end)
	),
	TP_fast_assign(
		__entry->mm = mm;
		__entry->start = walk->start;
		__entry->end = walk->end;
	),
	TP_printk("mm=%p start=0x%lx end=0x%lx",
		  __entry->mm, __entry->start, __entry->end)
);

#endif /* HMM_MIRROR_TRACE_H */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE hmm_trace
#include <trace/define_trace.h>

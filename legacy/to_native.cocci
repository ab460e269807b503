// SPDX-License-Identifier: GPL-2.0
//
// Convert most of a driver from legacy/hmm_5_4.h to the native API of hmm_mirror.h:
//
//	spatch --sp-file legacy/to_native.cocci --in-place driver.c
//
// Each struct hmm_range becomes a struct mirrored_range of the driver, which consists of a
// range, a request and a sequence. Each hmm_range_fault() becomes begin and fault, which return
// 0 instead of a number of pages. The mmap lock is removed from functions that fault and from
// their callers, because the native functions take it. Entries become those of the kernel,
// without an encoding by the driver.
//
// Not converted, but found by the compiler: hmm_range_dma_map(), hmm_vma_fault(), entries of
// 64 bits that other files declare, the encoding of device PTEs, and find_vma() where the mmap
// lock was removed. If the driver has several files, move struct mirrored_range to a header.

@@
@@
- #include "legacy/hmm_5_4.h"
+ #include "hmm_mirror.h"
+
+ /* A range, the pages to read, and the sequence with which they were read. */
+ struct mirrored_range {
+ 	struct hmm_mirror_range tracked;
+ 	struct hmm_mirror_fault ask;
+ 	unsigned long seq;
+ };

// ------------------------------------------------------------------- mirrors

@@
expression mirror, mm, ret;
@@
- down_write(&mm->mmap_sem);
- ret = hmm_mirror_register(mirror, mm);
- up_write(&mm->mmap_sem);
+ ret = hmm_mirror_attach(mirror, mm);

@@
expression mirror;
@@
- mirror.hmm->mmu_notifier.mm
+ mirror.mm

@@
expression mirror;
@@
- mirror->hmm->mmu_notifier.mm
+ mirror->mm

// ---------------------------------------------------------------- the encoding

@@
identifier flags;
@@
- static const u64 flags[HMM_PFN_FLAG_MAX] = { ... };

@@
identifier values;
@@
- static const u64 values[HMM_PFN_VALUE_MAX] = { ... };

// Requests
@@
struct hmm_range range;
expression e;
@@
(
  range.default_flags = <+...
- e[HMM_PFN_VALID]
+ HMM_PFN_REQ_FAULT
  ...+>;
|
  range.default_flags |= <+...
- e[HMM_PFN_WRITE]
+ HMM_PFN_REQ_WRITE
  ...+>;
)

@@
struct hmm_range *range;
expression e;
@@
(
  range->default_flags = <+...
- e[HMM_PFN_VALID]
+ HMM_PFN_REQ_FAULT
  ...+>;
|
  range->default_flags |= <+...
- e[HMM_PFN_WRITE]
+ HMM_PFN_REQ_WRITE
  ...+>;
)

@@
expression pfns, i, e;
@@
(
  pfns[i] =
- e[HMM_PFN_VALID]
+ HMM_PFN_REQ_FAULT
|
  pfns[i] |=
- e[HMM_PFN_WRITE]
+ HMM_PFN_REQ_WRITE
)

// Results
@@
expression e, entry;
@@
(
- entry == e[HMM_PFN_ERROR]
+ entry & HMM_PFN_ERROR
|
- entry != e[HMM_PFN_ERROR]
+ !(entry & HMM_PFN_ERROR)
|
- entry == e[HMM_PFN_NONE]
+ !(entry & HMM_PFN_VALID)
|
- entry != e[HMM_PFN_NONE]
+ entry & HMM_PFN_VALID
|
- e[HMM_PFN_VALID]
+ HMM_PFN_VALID
|
- e[HMM_PFN_WRITE]
+ HMM_PFN_WRITE
)

@@
expression range, e;
@@
- hmm_device_entry_to_page(range, e)
+ (e & HMM_PFN_VALID ? hmm_pfn_to_page(e) : NULL)

// ------------------------------------------------- the fields of struct hmm_range

@@
struct hmm_range range;
expression e;
@@
(
- range.flags = e;
|
- range.values = e;
|
- range.pfn_shift = e;
|
- INIT_LIST_HEAD(&range.list);
)

@@
struct hmm_range range;
@@
(
- range.start
+ range.tracked.start
|
- range.end
+ range.tracked.end
|
- range.pfns
+ range.ask.pfns
|
- range.default_flags
+ range.ask.default_flags
|
- range.pfn_flags_mask
+ range.ask.pfn_flags_mask
)

@@
struct hmm_range *range;
expression e;
@@
(
- range->flags = e;
|
- range->values = e;
|
- range->pfn_shift = e;
|
- INIT_LIST_HEAD(&range->list);
)

@@
struct hmm_range *range;
@@
(
- range->start
+ range->tracked.start
|
- range->end
+ range->tracked.end
|
- range->pfns
+ range->ask.pfns
|
- range->default_flags
+ range->ask.default_flags
|
- range->pfn_flags_mask
+ range->ask.pfn_flags_mask
)

@@
identifier range;
expression e;
@@
  struct hmm_range range = { ...,
-	.flags = e,
	... };

@@
identifier range;
expression e;
@@
  struct hmm_range range = { ...,
-	.values = e,
	... };

@@
identifier range;
expression e;
@@
  struct hmm_range range = { ...,
-	.pfn_shift = e,
	... };

@@
identifier range;
expression e;
@@
  struct hmm_range range = { ...,
-	.start = e,
+	.tracked.start = e,
	... };

@@
identifier range;
expression e;
@@
  struct hmm_range range = { ...,
-	.end = e,
+	.tracked.end = e,
	... };

@@
identifier range;
expression e;
@@
  struct hmm_range range = { ...,
-	.pfns = e,
+	.ask.pfns = e,
	... };

@@
identifier range;
expression e;
@@
  struct hmm_range range = { ...,
-	.default_flags = e,
+	.ask.default_flags = e,
	... };

@@
identifier range;
expression e;
@@
  struct hmm_range range = { ...,
-	.pfn_flags_mask = e,
+	.ask.pfn_flags_mask = e,
	... };

// ------------------------------------------------------------------ functions

@@
struct hmm_range range;
expression mirror, timeout;
@@
(
- hmm_range_register(&range, mirror)
+ hmm_mirror_range_register(&range.tracked, mirror)
|
- hmm_range_unregister(&range)
+ hmm_mirror_range_unregister(&range.tracked)
|
- !hmm_range_valid(&range)
+ hmm_mirror_range_retry(&range.tracked, range.seq)
|
- hmm_range_valid(&range)
+ !hmm_mirror_range_retry(&range.tracked, range.seq)
|
- !hmm_range_wait_until_valid(&range, timeout)
+ hmm_mirror_range_begin(&range.tracked, &range.seq, timeout)
)

@@
struct hmm_range *range;
expression mirror, timeout;
@@
(
- hmm_range_register(range, mirror)
+ hmm_mirror_range_register(&range->tracked, mirror)
|
- hmm_range_unregister(range)
+ hmm_mirror_range_unregister(&range->tracked)
|
- !hmm_range_valid(range)
+ hmm_mirror_range_retry(&range->tracked, range->seq)
|
- hmm_range_valid(range)
+ !hmm_mirror_range_retry(&range->tracked, range->seq)
|
- !hmm_range_wait_until_valid(range, timeout)
+ hmm_mirror_range_begin(&range->tracked, &range->seq, timeout)
)

@@
struct hmm_range range;
expression timeout;
@@
- hmm_range_wait_until_valid(&range, timeout);

@@
struct hmm_range *range;
expression timeout;
@@
- hmm_range_wait_until_valid(range, timeout);

// Remove the mmap lock from functions that fault and from their callers.
@ fault @
identifier fn;
expression range, ret, flags;
@@
fn(...)
{
<+...
  ret = hmm_range_fault(range, flags);
...+>
}

@ caller @
identifier fault.fn, outer;
@@
outer(...)
{
<+...
  fn(...)
...+>
}

@@
identifier fault.fn;
expression mm;
@@
fn(...)
{
<...
(
- down_read(&mm->mmap_sem);
|
- up_read(&mm->mmap_sem);
|
- find_vma
+ find_vma_under_mmap_lock
  (...)
|
- find_vma_intersection
+ find_vma_under_mmap_lock
  (...)
)
...>
}

@@
identifier caller.outer;
expression mm;
@@
outer(...)
{
<...
(
- down_read(&mm->mmap_sem);
|
- up_read(&mm->mmap_sem);
|
- find_vma
+ find_vma_under_mmap_lock
  (...)
|
- find_vma_intersection
+ find_vma_under_mmap_lock
  (...)
)
...>
}

@@
identifier fault.fn;
expression fault.ret;
@@
fn(...)
{
<...
(
- ret <= 0
+ ret
|
- ret > 0
+ !ret
)
...>
}

@@
identifier fault.fn, mm;
expression e;
@@
fn(...)
{
... when any
- struct mm_struct *mm = e;
... when != mm
}

@@
identifier caller.outer, mm;
expression e;
@@
outer(...)
{
... when any
- struct mm_struct *mm = e;
... when != mm
}

@@
struct hmm_range range;
expression ret, flags;
@@
(
- ret = hmm_range_fault(&range, HMM_FAULT_SNAPSHOT);
+ range.ask.start = range.tracked.start;
+ range.ask.end = range.tracked.end;
+ ret = hmm_mirror_range_begin(&range.tracked, &range.seq, HMM_MIRROR_DEFAULT_TIMEOUT);
+ if (!ret)
+	ret = hmm_mirror_range_snapshot(&range.tracked, range.seq, &range.ask,
+				HMM_MIRROR_WAIT_FOREVER);
|
- ret = hmm_range_fault(&range, flags);
+ range.ask.start = range.tracked.start;
+ range.ask.end = range.tracked.end;
+ ret = hmm_mirror_range_begin(&range.tracked, &range.seq, HMM_MIRROR_DEFAULT_TIMEOUT);
+ if (!ret)
+	ret = hmm_mirror_range_fault(&range.tracked, range.seq, &range.ask,
+				HMM_MIRROR_WAIT_FOREVER);
)

@@
struct hmm_range *range;
expression ret, flags;
@@
(
- ret = hmm_range_fault(range, HMM_FAULT_SNAPSHOT);
+ range->ask.start = range->tracked.start;
+ range->ask.end = range->tracked.end;
+ ret = hmm_mirror_range_begin(&range->tracked, &range->seq, HMM_MIRROR_DEFAULT_TIMEOUT);
+ if (!ret)
+	ret = hmm_mirror_range_snapshot(&range->tracked, range->seq, &range->ask,
+				HMM_MIRROR_WAIT_FOREVER);
|
- ret = hmm_range_fault(range, flags);
+ range->ask.start = range->tracked.start;
+ range->ask.end = range->tracked.end;
+ ret = hmm_mirror_range_begin(&range->tracked, &range->seq, HMM_MIRROR_DEFAULT_TIMEOUT);
+ if (!ret)
+	ret = hmm_mirror_range_fault(&range->tracked, range->seq, &range->ask,
+				HMM_MIRROR_WAIT_FOREVER);
)

// ------------------------------------------------------------------------ types

@@
typedef uint64_t;
expression range;
identifier words;
expression n;
@@
(
- u64 words[n];
+ unsigned long words[n];
|
- uint64_t words[n];
+ unsigned long words[n];
|
- u64 *words;
+ unsigned long *words;
|
- uint64_t *words;
+ unsigned long *words;
)
<+...
(
range.ask.pfns = words;
|
range->ask.pfns = words;
)
...+>

@@
identifier entry, range;
@@
(
- u64 entry;
+ unsigned long entry;
|
- uint64_t entry;
+ unsigned long entry;
)
... when any
struct hmm_range range = { ..., .ask.pfns = &entry, ... };

@ member @
expression range, object;
identifier words;
@@
(
range.ask.pfns = object->words
|
range->ask.pfns = object->words
|
range.ask.pfns = object.words
|
range->ask.pfns = object.words
)

@@
identifier S, member.words;
expression n;
@@
struct S {
...
(
- u64 words[n];
+ unsigned long words[n];
|
- uint64_t words[n];
+ unsigned long words[n];
|
- u64 *words;
+ unsigned long *words;
|
- uint64_t *words;
+ unsigned long *words;
)
...
};

@@
identifier range;
@@
- struct hmm_range range;
+ struct mirrored_range range = {};

@@
@@
- struct hmm_range
+ struct mirrored_range

@@
@@
- HMM_RANGE_DEFAULT_TIMEOUT
+ HMM_MIRROR_DEFAULT_TIMEOUT

// Rename the remaining uses of mmap_sem.
@@
expression mm;
@@
(
- down_read(&mm->mmap_sem)
+ mmap_read_lock(mm)
|
- up_read(&mm->mmap_sem)
+ mmap_read_unlock(mm)
|
- down_write(&mm->mmap_sem)
+ mmap_write_lock(mm)
|
- up_write(&mm->mmap_sem)
+ mmap_write_unlock(mm)
)

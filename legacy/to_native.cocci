// SPDX-License-Identifier: GPL-2.0
//
// Moves a driver from legacy/hmm_5_4.h to the native API of hmm_mirror.h, or most of it:
//
//	spatch --sp-file legacy/to_native.cocci --in-place driver.c
//
// What it does: a range that is a local variable becomes a struct hmm_mirror_range and,
// with what is asked for, a struct hmm_mirror_fault; each hmm_range_fault() begins, takes
// a sequence, and returns 0 and not a number of pages; the mmap lock goes, which the
// native functions take; entries are those of the kernel, without an encoding of the
// device.
//
// What it leaves, and the compiler finds: ranges in structures and in the arguments of
// functions, hmm_range_dma_map(), hmm_vma_fault(), and the encoding of device PTEs.
// To be looked at: areas that were looked up under the mmap lock, which has gone.

@@
@@
- #include "legacy/hmm_5_4.h"
+ #include "hmm_mirror.h"

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

@@
identifier range;
expression e;
@@
- range.default_flags = e[HMM_PFN_VALID];
+ range.default_flags = HMM_PFN_REQ_FAULT;

@@
identifier range;
expression e;
@@
- range.default_flags |= e[HMM_PFN_WRITE];
+ range.default_flags |= HMM_PFN_REQ_WRITE;

@@
expression e;
@@
(
- e[HMM_PFN_VALID]
+ HMM_PFN_VALID
|
- e[HMM_PFN_WRITE]
+ HMM_PFN_WRITE
|
- e[HMM_PFN_ERROR]
+ HMM_PFN_ERROR
)

@@
expression range, e;
@@
- hmm_device_entry_to_page(range, e)
+ (e & HMM_PFN_VALID ? hmm_pfn_to_page(e) : NULL)

// ------------------------------------- a local range: two structures and a sequence

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
initializer list fields;
@@
- struct hmm_range range = { fields };
+ struct hmm_mirror_fault fault = { fields };
+ struct hmm_mirror_range range = { .start = fault.start, .end = fault.end };
+ unsigned long seq;

@@
identifier range;
@@
- struct hmm_range range;
+ struct hmm_mirror_fault fault = {};
+ struct hmm_mirror_range range;
+ unsigned long seq;

@@
idexpression struct hmm_mirror_range range;
expression e;
@@
(
- range.start = e;
+ range.start = e;
+ fault.start = e;
|
- range.end = e;
+ range.end = e;
+ fault.end = e;
|
- range.flags = e;
|
- range.values = e;
|
- range.pfn_shift = e;
|
- range.pfns
+ fault.pfns
|
- range.default_flags
+ fault.default_flags
|
- range.pfn_flags_mask
+ fault.pfn_flags_mask
)

@@
identifier pfns;
expression n;
@@
(
- u64 pfns[n];
+ unsigned long pfns[n];
|
- uint64_t pfns[n];
+ unsigned long pfns[n];
)
<+...
fault.pfns = pfns;
...+>

@@
identifier entry;
@@
(
- u64 entry;
+ unsigned long entry;
|
- uint64_t entry;
+ unsigned long entry;
)
... when any
struct hmm_mirror_fault fault = { ..., .pfns = &entry, ... };

// ------------------------------------------------------------------ what is done

@@
idexpression struct hmm_mirror_range range;
expression mirror, timeout;
@@
(
- hmm_range_register(&range, mirror)
+ hmm_mirror_range_register(&range, mirror)
|
- hmm_range_unregister(&range)
+ hmm_mirror_range_unregister(&range)
|
- !hmm_range_valid(&range)
+ hmm_mirror_range_retry(&range, seq)
|
- hmm_range_valid(&range)
+ !hmm_mirror_range_retry(&range, seq)
|
- !hmm_range_wait_until_valid(&range, timeout)
+ hmm_mirror_range_begin(&range, &seq, timeout)
)

@@
idexpression struct hmm_mirror_range range;
expression timeout;
@@
- hmm_range_wait_until_valid(&range, timeout);

// Under the mmap lock, which the native functions take.
@ fault @
identifier fn;
idexpression struct hmm_mirror_range range;
expression ret, flags;
@@
fn(...)
{
<+...
(
- ret = hmm_range_fault(&range, HMM_FAULT_SNAPSHOT);
+ ret = hmm_mirror_range_begin(&range, &seq, HMM_MIRROR_DEFAULT_TIMEOUT);
+ if (!ret)
+	ret = hmm_mirror_range_snapshot(&range, seq, &fault);
|
- ret = hmm_range_fault(&range, flags);
+ ret = hmm_mirror_range_begin(&range, &seq, HMM_MIRROR_DEFAULT_TIMEOUT);
+ if (!ret)
+	ret = hmm_mirror_range_fault(&range, seq, &fault);
)
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
@@
- HMM_RANGE_DEFAULT_TIMEOUT
+ HMM_MIRROR_DEFAULT_TIMEOUT

// What still is there has a new name.
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

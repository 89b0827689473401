// SPDX-License-Identifier: GPL-2.0
/* Hypercalls. */
#include <asm/sbi.h>
#include <linux/gfp.h>
#include <linux/string.h>
#include "driver.h"

/* SBI 3.0, table 1; the kernel's header does not have them all. */
#define SBI_INVALID_STATE (-10)
#define SBI_BAD_RANGE     (-11)
#define SBI_DENIED_LOCKED (-14)

static long to_errno(long error)
{
	switch (error) {
	case SBI_ERR_NOT_SUPPORTED:
		return -EOPNOTSUPP;
	case SBI_ERR_INVALID_PARAM:
		return -EINVAL;
	case SBI_ERR_DENIED:
	case SBI_DENIED_LOCKED:
		return -EPERM;
	case SBI_ERR_INVALID_ADDRESS:
		return -EFAULT;
	case SBI_ERR_ALREADY_AVAILABLE:
	case SBI_ERR_ALREADY_STARTED:
	case SBI_ERR_ALREADY_STOPPED:
		return -EALREADY;
	case SBI_INVALID_STATE:
		return -EBUSY;
	case SBI_BAD_RANGE:
		return -ERANGE;
	case DX_ERR_NOENT:
		return -ENOENT;
	case DX_ERR_OWN_LIMIT:
		return -EDQUOT;
	case DX_ERR_ABOVE:
		return -ENOSPC;
	case DX_ERR_EXISTS:
		return -EEXIST;
	default:
		return -EIO;
	}
}

long dx_call(unsigned long fid, unsigned long a0, unsigned long a1, unsigned long a2,
	     unsigned long a3, unsigned long a4)
{
	struct sbiret ret = sbi_ecall(DX_EID, fid, a0, a1, a2, a3, a4, 0);

	return ret.error ? to_errno(ret.error) : ret.value;
}

/* In a page of its own, for it must not cross one. */
long dx_call_struct(unsigned long fid, u32 handle, void *s, size_t size)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);
	long ret;

	if (!page)
		return -ENOMEM;
	memcpy(page, s, size);
	if (fid == DX_FID_CREATE)
		ret = dx_call(fid, __pa(page), 0, 0, 0, 0);
	else
		ret = dx_call(fid, handle, __pa(page), 0, 0, 0);
	memcpy(s, page, size);
	free_page((unsigned long)page);
	return ret;
}

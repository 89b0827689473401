/* SPDX-License-Identifier: MIT */
/*
 * The one error enum of the hypervisor. Functions that can fail return `enum err` and give results
 * through out-parameters; `must_check` makes ignoring one a compile error. Translation to SBI codes
 * happens in sbi/sbi.c alone.
 */
#pragma once

enum err {
	OK = 0,
	E_INVAL = -1,        /* an argument is wrong in itself */
	E_RANGE = -2,        /* an address or size lies outside what it must lie in */
	E_ALIGN = -3,        /* an address is not aligned as it must be */
	E_NOMEM = -4,        /* no free frame, or a fixed table is full */
	E_QUOTA_OWN = -5,    /* the VM's own limit refuses */
	E_QUOTA_ABOVE = -6,  /* an ancestor's limit refuses; never says whose */
	E_DENIED = -7,       /* the caller lacks the right */
	E_EXISTS = -8,       /* already there, already mapped, already started */
	E_NOENT = -9,        /* no such thing */
	E_STATE = -10,       /* not possible in the present state */
	E_FORMAT = -11,      /* data is not of the format it claims */
	E_UNSUPPORTED = -12, /* a valid request this machine or build cannot serve */
	E_FAULT = -13,       /* memory that was to be read or written is not accessible */
	E_CHECKSUM = -14,    /* data is damaged */
};

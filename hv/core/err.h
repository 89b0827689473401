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
	E_NOMEM = -3,        /* no free frame, or a fixed table is full */
	E_QUOTA_OWN = -4,    /* the VM's own limit refuses */
	E_QUOTA_ABOVE = -5,  /* an ancestor's limit refuses; never says whose */
	E_DENIED = -6,       /* the caller lacks the right */
	E_EXISTS = -7,       /* already there, already mapped, already started */
	E_NOENT = -8,        /* no such thing */
	E_STATE = -9,        /* not possible in the present state */
	E_FORMAT = -10,      /* data is not of the format it claims */
	E_UNSUPPORTED = -11, /* a valid request this machine or build cannot serve */
	E_FAULT = -12,       /* memory that was to be read or written is not accessible */
	E_CHECKSUM = -13,    /* data is damaged */
};

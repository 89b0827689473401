/* SPDX-License-Identifier: MIT */
/*
 * One access of any kind, from S- or U-mode, with SUM and MXR as asked for, and all that can be
 * seen of it. Addresses are told relative to the one that was accessed, so that two machines with
 * their RAM in different places can be compared.
 */
#pragma once

#include "guest.h"

enum access_kind {
	ACCESS_LOAD,
	ACCESS_STORE,
	ACCESS_FETCH,
	ACCESS_AMO,
	ACCESS_LRSC, /* LR and SC, until SC succeeds or one of them traps */
	ACCESS_KINDS
};
extern const char *const access_names[ACCESS_KINDS];

/* Eight bytes. They hold ACCESS_DATA beforehand (a breakpoint, twice); ACCESS_STORED is stored. */
#define ACCESS_DATA   0x0010007300100073ul
#define ACCESS_STORED 0x0010007300000013ul

/* The breakpoint that ends what did not trap: at what a fetch reached, or behind the access. */
#define ACCESS_DONE BREAKPOINT

struct access {
	enum access_kind kind;
	bool user, sum, mxr;
	uint64_t va;
};

struct seen {
	uint64_t cause;
	uint64_t tval; /* less va; for ACCESS_DONE whether it is sepc (1) or 0 (0) */
	uint64_t pc;   /* offset in the code that accesses; ACCESS_AT + distance from va if at va */
	uint64_t value; /* that was loaded */
};
#define ACCESS_AT 0x100000

/* Where users find the code that accesses, if translation is on: a page that the tables map with U,
 * X and A. */
#define ACCESS_CODE 0x1680000000ul
uint64_t access_code(void); /* its physical address */

struct seen access_try(const struct access *a);

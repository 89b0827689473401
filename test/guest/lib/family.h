/* SPDX-License-Identifier: MIT */
/* Children that tests of the tree need again and again. What fails here is `broken`. */
#pragma once

#include "guest.h"

#define NOBODY 0x7fffffff /* a handle that no child has */

/* The value of a call that must succeed. */
uint64_t value_of(const char *what, struct sbiret r);

void sleep_for_ever(uint64_t arg); /* for dx_spawn */
uint64_t paused_child(void);       /* a fork; would sleep for ever */
void kill_child(uint64_t handle);  /* and waits for the end */

/* A child that counts its own checks: adds them, when it has come to its end. */
void family_end(const char *name, uint64_t handle);

/* Pages that are touched for the first time, and the table of children, stay with the VM: what a
 * test costs shows when it is done again. */
void twice(void (*test)(void));

/* Where the generation ID's page is, from the device tree. */
uint64_t vmgenid_place(void);

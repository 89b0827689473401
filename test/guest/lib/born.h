/* SPDX-License-Identifier: MIT */
/*
 * Created children that run the guest's own image. A test's guest_main begins with
 *
 *	if (born())
 *		child_main();
 *
 * The parent has a window onto all of the child's RAM, the device tree is in its last MiB.
 */
#pragma once

#include "guest.h"

#define BORN_RAM    MIB(6)
#define BORN_WINDOW 0x1000000000ul

/* True in such a child. */
bool born(void);

/* A created child, loaded, not started: of dx_create, VCPUs and flags. One at a time, until the
 * window is closed. */
uint64_t born_create(uint32_t vcpus, uint32_t flags);

/* Loads image and device tree; all that the image keeps in .bss and .data is as in the caller now,
 * but for what the child finds out about its machine. */
void born_load(uint64_t handle);
void born_start(uint64_t handle);

/* A variable of the child's. */
#define BORN(variable) (*(typeof(&(variable)))born_at(&(variable)))
void *born_at(const volatile void *own);

/* Takes the window away. */
void born_close(void);

/* SPDX-License-Identifier: MIT */
/* A guest's access to an address that is not mapped: an emulated device's register, or nothing. */
#pragma once

#include "riscv/vcpu.h"

/* Deals with the load or store guest-page fault at `at` that the CSRs describe, where there is no
 * RAM: emulates the access to a device's register, or to the ghost of one, and steps over the
 * instruction; or raises the access fault that hardware would. Slow path. */
void mmio_fault(struct vcpu *v, gpa_t at, bool store);

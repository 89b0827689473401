/* SPDX-License-Identifier: MIT */
/* A guest's access to an address that is not mapped: an emulated device's register, or nothing. */
#pragma once

#include "riscv/vcpu.h"

/* Deals with the load or store guest-page fault at `at` that the CSRs describe, if an emulated
 * device, or the ghost of one, is there: emulates it and steps over the instruction, or raises the
 * access fault that hardware would. False when there is none. Slow path. */
bool must_check mmio_fault(struct vcpu *v, gpa_t at, bool store);

/* SPDX-License-Identifier: MIT */
/*
 * The Diosix SBI extension, as guests, the Linux driver and the tests see it. Specified call by
 * call in docs/abi.md. Numbers are never reused.
 */
#pragma once

#define DX_SBI_IMPL_ID 5 /* SBI BASE get_impl_id: registered for Diosix */
#define DX_EID         0x0a000005

#define DX_ABI_VERSION 1

/* VERSION() -> value: DX_ABI_VERSION. Any VM may call it. */
#define DX_FID_VERSION 0

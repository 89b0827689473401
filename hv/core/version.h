/* SPDX-License-Identifier: MIT */
/* The version of this hypervisor: semantic versioning, told on the banner and by SBI BASE
 * get_impl_version. */
#pragma once

#define DIOSIX_VERSION        "0.1.0"
#define DIOSIX_VERSION_NUMBER 0x000100 /* major << 16 | minor << 8 | patch */

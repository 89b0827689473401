/* SPDX-License-Identifier: MIT */
/* What of Mbed TLS the hypervisor builds: the ChaCha20 cipher alone. */
#pragma once

#define MBEDTLS_CHACHA20_C
#define MBEDTLS_PLATFORM_NO_STD_FUNCTIONS
#define MBEDTLS_PLATFORM_ZEROIZE_ALT /* core/rng.c has it */

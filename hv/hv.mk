# SPDX-License-Identifier: MIT
# The hypervisor: build/hv.elf.

HV      := $(BUILD)/hv
HV_CC   := $(CROSS)gcc
HV_LD   := $(CROSS)gcc
HV_SIZE := $(CROSS)size

LIBFDT  := $(shell scripts/fetch-source libfdt)/libfdt
# fdt_read_machine() refuses formats before version 17 (ASSUME_LATEST): no checks for them at every step.
LIBFDT_FLAGS := -DFDT_ASSUME_MASK=4
MBEDTLS := $(shell scripts/fetch-source mbedtls)
KLIBC   := $(shell scripts/fetch-source klibc)/usr

HV_ARCH   := -march=rv64imac_zicsr_zifencei -mabi=lp64 -mcmodel=medany
HV_CFLAGS := -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fno-omit-frame-pointer -fno-common -ffunction-sections -msmall-data-limit=0 -mstrict-align \
	-Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wundef -Wno-unused-parameter \
	-DDIOSIX_DEBUG=$(DEBUG)
HV_INCLUDE := -Ihv -Ihv/riscv -Ihv/lib -I. -isystem $(LIBFDT) -isystem $(MBEDTLS)/include \
	'-DMBEDTLS_CONFIG_FILE="lib/mbedtls_config.h"'
HV_LDFLAGS := -nostdlib -static -Wl,-n -Wl,--build-id=none -Wl,--gc-sections -Wl,-T,hv/boot/link.ld \
	-Wl,--no-warn-rwx-segments

HV_SRCS := $(sort $(wildcard hv/*/*.c hv/*/*.S))
HV_OBJS := $(HV_SRCS:hv/%=$(HV)/%.o)

# Third-party sources come from the distribution's packages and are built as they are.
HV_LIB_OBJS := $(patsubst %,$(HV)/libfdt/%.o,fdt fdt_ro fdt_sw) \
	$(HV)/mbedtls/chacha20.o \
	$(patsubst %,$(HV)/klibc/%.o,memchr memcmp snprintf strchr strcmp strlen strncmp strnlen vsnprintf)

$(HV)/%.o: hv/%
	@mkdir -p $(@D)
	$(call say,CC,$@)$(HV_CC) $(HV_ARCH) $(HV_CFLAGS) $(HV_INCLUDE) -MMD -MP -c -o $@ $<

$(HV)/libfdt/%.o: $(LIBFDT)/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(HV_CC) $(HV_ARCH) $(filter-out -W%,$(HV_CFLAGS)) $(HV_INCLUDE) $(LIBFDT_FLAGS) -w -c -o $@ $<

$(HV)/mbedtls/%.o: $(MBEDTLS)/library/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(HV_CC) $(HV_ARCH) $(filter-out -W%,$(HV_CFLAGS)) $(HV_INCLUDE) -w -c -o $@ $<

# The headers that it needs are in hv/lib; of its own it finds those that no other folder has.
$(HV)/klibc/%.o: $(KLIBC)/klibc/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(HV_CC) $(HV_ARCH) $(filter-out -W%,$(HV_CFLAGS)) $(HV_INCLUDE) -idirafter $(KLIBC)/include -w -c -o $@ $<

# Or the compiler would turn the loop of memcpy into a call of memcpy.
$(HV)/lib/string.c.o $(HV)/klibc/%.o: HV_CFLAGS += -fno-tree-loop-distribute-patterns

$(BUILD)/hv.elf: $(HV_OBJS) $(HV_LIB_OBJS) hv/boot/link.ld
	$(call say,LD,$@)$(HV_LD) $(HV_ARCH) $(HV_LDFLAGS) -o $@ $(HV_OBJS) $(HV_LIB_OBJS)

-include $(HV_OBJS:.o=.d)

.PHONY: hv
hv: $(BUILD)/hv.elf
	@$(HV_SIZE) $<

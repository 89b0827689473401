# SPDX-License-Identifier: MIT
# Unit tests of the portable core on the build machine: cmocka, ASan and UBSan. A test is
# test/unit/test_NAME.c; `unit_NAME` lists the hypervisor sources it is linked with.

UNIT_CC     ?= gcc
UNIT_SANITIZE := -O1 -fsanitize=address,undefined
UNIT_CFLAGS = -std=gnu11 -g -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wno-unused-parameter \
	$(UNIT_SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer \
	-DDIOSIX_DEBUG=1 -Itest/unit -Ihv -I.

unit_decode := hv/riscv/decode.c
unit_payload := hv/payload/payload.c
unit_vplic := hv/vdev/vplic.c
unit_vuart := hv/vdev/vuart.c
unit_plic := hv/drivers/plic.c
unit_uart := hv/drivers/uart.c hv/drivers/finisher.c
unit_console := hv/core/console.c
unit_isatext := hv/fdt/isa_text.c
# The hypervisor's libfdt, not the machine's.
libfdt := $(addprefix $(LIBFDT)/,fdt.c fdt_ro.c fdt_rw.c fdt_sw.c fdt_wip.c fdt_empty_tree.c)
unit_hostfdt := $(addprefix hv/fdt/,host.c tree.c memory.c cpus.c isa_text.c controllers.c console.c devices.c) $(libfdt)
unit_hostdev := $(unit_hostfdt)
unit_guestfdt := $(unit_hostfdt) hv/fdt/guest.c
unit_sched := hv/core/heap.c
unit_heap := hv/core/heap.c
mmu := $(addprefix hv/mmu/,touch.c share.c window.c)
unit_quota := hv/core/heap.c
unit_vm := hv/core/vm.c hv/core/frame.c hv/core/quota.c hv/core/heap.c hv/mmu/gstage.c $(mmu)
unit_gstage := hv/core/vm.c hv/core/frame.c hv/core/quota.c hv/core/heap.c $(mmu)
unit_shadow := $(unit_vm)
unit_walk := $(unit_vm) hv/mmu/walk.c
unit_rng := $(MBEDTLS)/library/chacha20.c
# A tree of VMs: all that is portable of them.
unit_tree := $(addprefix hv/,core/tree.c core/fork.c core/vm.c core/frame.c core/quota.c core/heap.c core/vconsole.c \
	mmu/gstage.c vdev/devices.c vdev/vplic.c vdev/vuart.c) $(mmu)
unit_fork := $(unit_tree)
unit_calls := $(addprefix hv/sbi/,diosix.c dx_make.c dx_memory.c dx_quota.c dx_trust.c) $(unit_tree)
unit_vconsole := $(unit_tree)

UNIT_TESTS := $(patsubst test/unit/test_%.c,%,$(wildcard test/unit/test_*.c))

$(BUILD)/unit/%: test/unit/test_%.c test/unit/host.c $(wildcard test/unit/*.h hv/*/*.h abi/*.h)
	@mkdir -p $(@D)
	$(UNIT_CC) $(UNIT_CFLAGS) -o $@ $< test/unit/host.c $(unit_$*) -lcmocka

.SECONDEXPANSION:
$(foreach t,$(UNIT_TESTS),$(eval $(BUILD)/unit/$(t): $(unit_$(t))))

# A million steps, each with an audit: fast, and the sanitizer that is fast.
$(BUILD)/unit/tree: UNIT_SANITIZE := -O2 -fsanitize=undefined

# Includes the source, because its functions need other names beside the host's.
$(BUILD)/unit/string: hv/lib/string.c

# Include the source to look inside.
$(BUILD)/unit/frame: hv/core/frame.c
$(BUILD)/unit/quota: hv/core/quota.c
$(BUILD)/unit/sched: hv/core/sched.c
$(BUILD)/unit/gstage: hv/mmu/gstage.c
$(BUILD)/unit/shadow: hv/mmu/walk.c hv/mmu/shadow.c
$(addprefix $(BUILD)/unit/,hostfdt hostdev guestfdt): UNIT_CFLAGS += -isystem $(LIBFDT) $(LIBFDT_FLAGS)
$(BUILD)/unit/rng: hv/core/rng.c
$(BUILD)/unit/rng: UNIT_CFLAGS += -isystem $(MBEDTLS)/include '-DMBEDTLS_CONFIG_FILE="lib/mbedtls_config.h"'

.PHONY: unit
unit: $(UNIT_TESTS:%=$(BUILD)/unit/%)
	@for t in $^; do $$t || exit 1; done

# SPDX-License-Identifier: MIT
# Diosix. The two commands: `make run` builds everything and logs in to the Root VM under QEMU;
# `make test` proves that it works. `make help` lists the rest.

DEBUG  ?= 0
# A debug build has objects of its own, so that going back and forth compiles nothing twice.
BUILD  ?= $(if $(filter-out 0,$(DEBUG)),build/debug,build)
CROSS  ?= riscv64-linux-gnu-
# The distribution's, because the test tools are its packages; another python on PATH lacks them.
PYTHON ?= /usr/bin/python3

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# One short line for each step; V=1 shows the commands.
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2); )

# The machine and what runs on it, for `make run` and `make debug`.
ifeq ($(MACHINE),sifive_u)
CPU ?= sifive-u54
SMP ?= 5
NET ?= 0
endif
MACHINE ?= virt
CPU     ?= rv64
SMP     ?= 4
MEM     ?= 2G
NET     ?= 1
BOOTARGS_DEFAULT := console=hvc0 earlycon=sbi panic=1

# Help and cleaning must work on a machine that has nothing; all else first installs what is missing.
WORK_GOALS := $(filter-out help clean,$(or $(MAKECMDGOALS),all))
ifneq ($(WORK_GOALS),)
ifeq ($(DIOSIX_SETUP),)
ifneq ($(shell scripts/setup >&2 && echo done),done)
$(error scripts/setup could not install what is missing)
endif
export DIOSIX_SETUP := done
endif

include hv/hv.mk
include guest/guest.mk
include test/unit/unit.mk
include test/fuzz/fuzz.mk
-include $(wildcard test/guest/*.mk)
-include bench/bench.mk
endif

.PHONY: all
all: $(BUILD)/diosix.elf

$(BUILD)/diosix.elf: $(BUILD)/hv.elf $(GUEST_IMAGE) $(GUEST_INITRAMFS) scripts/mkimage
	$(call say,PACK,$@)scripts/mkimage --hypervisor $(BUILD)/hv.elf --kernel $(GUEST_IMAGE) \
		--initrd $(GUEST_INITRAMFS) --append "$(BOOTARGS_DEFAULT)" --manifest $(BUILD)/diosix.manifest -o $@

# --- make run, make debug -------------------------------------------------------------------

# Any of these asks for an image of its own. A foreign kernel gets the UART that each knows as its console.
ifneq ($(strip $(KERNEL)$(INITRD)$(APPEND)$(ROOT_MEM)$(VCPUS)),)
RUN_IMAGE  := $(BUILD)/run.elf
RUN_KERNEL := $(or $(KERNEL),$(GUEST_IMAGE))
RUN_INITRD := $(or $(INITRD),$(if $(KERNEL),,$(GUEST_INITRAMFS)))
RUN_APPEND := $(or $(APPEND),$(if $(KERNEL),console=ttyS0 earlycon panic=1,$(BOOTARGS_DEFAULT)))

.PHONY: run-image
$(RUN_IMAGE): run-image $(BUILD)/hv.elf $(RUN_KERNEL) $(RUN_INITRD)
	@scripts/mkimage --hypervisor $(BUILD)/hv.elf --kernel "$(RUN_KERNEL)" $(if $(filter-out 0,$(FLAT)),--flat) $(if $(BASE),--base $(BASE)) \
		$(if $(RUN_INITRD),--initrd "$(RUN_INITRD)") --append "$(RUN_APPEND)" \
		$(if $(ROOT_MEM),--mem $(ROOT_MEM)) $(if $(VCPUS),--cpus $(VCPUS)) -o $@
else
RUN_IMAGE := $(BUILD)/diosix.elf
endif

QEMU ?= qemu-system-riscv64
GDB_PORT ?= 1234
QEMU_RUN = $(QEMU) -M $(MACHINE) -cpu $(CPU) -smp $(SMP) -m $(MEM) -bios none -kernel $(RUN_IMAGE) -nographic \
	$(if $(filter-out 0,$(NET)),-netdev user$(comma)id=net0 -device virtio-net-device$(comma)netdev=net0) \
	$(if $(DISK),-drive file=$(DISK)$(comma)format=raw$(comma)if=none$(comma)id=disk0 \
		-device virtio-blk-device$(comma)drive=disk0) $(QEMU_EXTRA)
comma := ,

.PHONY: run debug
run: $(RUN_IMAGE)
	@echo "Diosix on $(MACHINE), $(SMP) harts, $(MEM): log in as root; Ctrl-A X ends QEMU"
	@$(QEMU_RUN)

debug: $(RUN_IMAGE)
	@echo "QEMU waits for a debugger. In another terminal:"
	@echo "  gdb-multiarch $(BUILD)/hv.elf -ex 'target remote localhost:$(GDB_PORT)'"
	@echo "then for instance: hbreak boot_main, continue. Ctrl-A X here ends QEMU."
	@$(QEMU_RUN) -gdb tcp:127.0.0.1:$(GDB_PORT) -S

# --- make disk, make run-disk: the HiFive Unleashed ------------------------------------------

MEDIUM := $(BUILD)/$(if $(CARD),card,flash)

.PHONY: disk run-disk
disk: $(RUN_IMAGE)
	@scripts/mkdisk --image $< $(if $(CARD),--card) $(if $(OPTIONS),--options "$(OPTIONS)") --manifest $(MEDIUM).manifest \
		--spl $(BUILD)/u-boot-spl.bin -v -o $(MEDIUM).img

# RAM is what the board has, and its device tree says.
run-disk: CARD :=
run-disk: disk
	@echo "The HiFive Unleashed boots from its SPI flash, as far as harts without the H extension are served yet; Ctrl-A X ends QEMU"
	@$(QEMU) -M sifive_u,msel=6 -smp 5 -m 8G -bios $(BUILD)/u-boot-spl.bin -drive file=$(MEDIUM).img,format=raw,if=mtd -nographic $(QEMU_EXTRA)

# --- tests ----------------------------------------------------------------------------------

FULL ?= 0
export HV_COMPILE   = $(HV_CC) $(HV_ARCH) $(HV_CFLAGS) $(HV_INCLUDE)
export UNIT_COMPILE = $(UNIT_CC) $(UNIT_CFLAGS) -isystem $(LIBFDT)
TEST_ENV = MAKE="$(MAKE)" BUILD=$(BUILD) GUEST_BUILD=$(abspath $(BUILD)) CROSS=$(CROSS) QEMU=$(QEMU) FULL=$(FULL)

.PHONY: check test format
check:
	@$(TEST_ENV) $(PYTHON) test/run static unit

test:
	@$(TEST_ENV) $(PYTHON) test/run static unit fuzz guest system

format:
	clang-format -i $$(scripts/check --list-c)

# --- the rest -------------------------------------------------------------------------------

.PHONY: clean help
clean:
	rm -rf build

help:
	@echo "make              build/diosix.elf: the hypervisor with the Root VM's Linux"
	@echo "make run          build and boot it under QEMU; log in as root"
	@echo "make debug        the same, but QEMU waits for gdb"
	@echo "    MACHINE=$(MACHINE) CPU=$(CPU) SMP=$(SMP) MEM=$(MEM)   the machine"
	@echo "    KERNEL=file INITRD=file APPEND='...'   another kernel as Root VM (FLAT=1: a flat binary; BASE=address it must run at)"
	@echo "    ROOT_MEM=512M VCPUS=2                  the Root VM's RAM and VCPUs"
	@echo "    DISK=file                              a raw image as virtio disk"
	@echo "    NET=0                                  no network;  QEMU_EXTRA='...' more options"
	@echo "make disk         build/flash.img: the SPI flash of a HiFive Unleashed (CARD=1: build/card.img, an SD card); OPTIONS='...'"
	@echo "make run-disk     build the flash and boot QEMU's HiFive Unleashed from it"
	@echo "make check        format, lint, headers, unit tests; no QEMU"
	@echo "make test         all tests; FULL=1: the full matrix of machines"
	@echo "make unit, fuzz   the unit tests, the fuzz targets (FUZZ_SECONDS=10) alone"
	@echo "make bench        instructions, times and sizes beside plain OpenSBI's"
	@echo "make format       clang-format on all C files"
	@echo "make hv, guest    only the hypervisor, only the Root VM's software; guest-update: newer packages"
	@echo "make clean        removes build/ (the guest's parts stay in the cache: ~/.cache/diosix)"
	@echo "DEBUG=1           build/debug: with assertions; V=1 shows the commands"

.PHONY: static
static:
	@$(TEST_ENV) scripts/check $(CHECKS)

# SPDX-License-Identifier: MIT
# The Root VM's software. guest/build keeps everything that is slow in a cache outside the checkout
# and answers in well under a second when nothing changed, so it is simply asked each time; the
# products keep their time stamps then, and what depends on them is not made again.
#
#   make guest           $(GUEST_IMAGE) $(GUEST_INITRAMFS) $(GUEST_MANIFEST)
#   make guest-update    look for newer packages in the distribution's archive

BUILD ?= build
GUEST_IMAGE     := $(BUILD)/guest/Image
GUEST_INITRAMFS := $(BUILD)/guest/initramfs.cpio
GUEST_MANIFEST  := $(BUILD)/manifest.txt

.PHONY: guest guest-update guest-ask

# guest/build replaces them in one step: an interrupted make must not take away good ones.
.PRECIOUS: $(GUEST_IMAGE) $(GUEST_INITRAMFS) $(GUEST_MANIFEST)

guest: $(GUEST_IMAGE) $(GUEST_INITRAMFS) $(GUEST_MANIFEST)

$(GUEST_IMAGE) $(GUEST_INITRAMFS) $(GUEST_MANIFEST) &: guest-ask
	@guest/build products $(BUILD)

guest-update:
	guest/build update
	$(MAKE) guest

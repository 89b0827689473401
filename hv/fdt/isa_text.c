/* SPDX-License-Identifier: MIT */
/* ISA extension names in and out: see isa_text.h. Every loop ends with the property it reads. */
#include <string.h>
#include "fdt/isa_text.h"

#define X(id, name, guest) name,
static const char *const names[ISA_COUNT] = {ISA_EXTENSIONS(X)};
#undef X

const char *const isa_mmu_types[ISA_MMU_TYPES] = {[3] = "riscv,sv39", "riscv,sv48", "riscv,sv57"};

static void add_extension(const char *text, size_t len, struct isa *isa)
{
	for (unsigned i = 0; i < ISA_COUNT; i++)
		if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0)
			isa->exts |= BIT(i);
}

void isa_parse_list(const char *list, size_t size, struct isa *isa)
{
	for (size_t len, i = 0; i < size; i += len + 1) {
		len = strnlen(list + i, size - i);
		add_extension(list + i, len, isa);
	}
}

/* Single letters follow each other; a longer name ends at the next underscore. */
void isa_parse_string(const char *text, size_t size, struct isa *isa)
{
	size_t len = strnlen(text, size);

	if (len < 5 || memcmp(text, "rv64", 4) != 0)
		return;
	for (size_t n, i = 4; i < len; i += n) {
		n = 1;
		while (strchr("sxz", text[i]) && i + n < len && text[i + n] != '_')
			n++;
		add_extension(text + i, n, isa);
	}
	if (isa_has(isa, ISA_I))
		isa->exts |= BIT(ISA_ZICSR) | BIT(ISA_ZIFENCEI);
}

size_t isa_write(const struct isa *isa, bool list, char buf[ISA_TEXT_SIZE])
{
	size_t n = list ? 0 : 4;

	memcpy(buf, "rv64", n);
	for (unsigned i = 0; i < ISA_COUNT; i++)
		if (isa->exts & BIT(i)) {
			if (!list && names[i][1])
				buf[n++] = '_';
			memcpy(buf + n, names[i], strlen(names[i]) + 1);
			n += strlen(names[i]) + list;
		}
	buf[n] = '\0';
	return list ? n : n + 1;
}

/* SPDX-License-Identifier: MIT */
/* Limits and priorities. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dx.h"

static const char *const limit_names[DX_LIMITS] = {
	[DX_LIMIT_PAGES] = "pages",
	[DX_LIMIT_VCPUS] = "vcpus",
	[DX_LIMIT_VMS] = "vms",
	[DX_LIMIT_PRIORITY] = "priority",
	[DX_LIMIT_DEPTH] = "depth",
	[DX_LIMIT_RESERVE] = "reserve",
	[DX_LIMIT_GUARANTEE] = "guarantee",
};

static bool counts_pages(unsigned limit)
{
	return limit == DX_LIMIT_PAGES || limit == DX_LIMIT_RESERVE || limit == DX_LIMIT_GUARANTEE;
}

/* A number and what follows it. */
static uint64_t number(const char *text, const char *what, const char **rest)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || errno)
		die(ST_USAGE, "%s: not a number: %s", escaped(what), escaped(text));
	*rest = end;
	return n;
}

uint64_t parse_number(const char *text, const char *what)
{
	const char *rest;
	uint64_t n = number(text, what, &rest);

	if (*rest)
		die(ST_USAGE, "%s: not a number: %s", escaped(what), escaped(text));
	return n;
}

uint32_t parse_u32(const char *text, const char *what)
{
	uint64_t n = parse_number(text, what);

	if (n > UINT32_MAX)
		die(ST_USAGE, "%s: too large", what);
	return (uint32_t)n;
}

/* The exponent of the suffix K, M or G, which is all of `text`; -1: something else. */
static int suffix_bits(const char *text)
{
	static const char suffixes[] = "KMG";
	const char *at = *text ? strchr(suffixes, *text) : NULL;

	return at && !text[1] ? (int)(at - suffixes + 1) * 10 : -1;
}

uint64_t parse_size(const char *text, const char *what)
{
	const char *rest;
	uint64_t n = number(text, what, &rest);
	int bits = *rest ? suffix_bits(rest) : 0;

	if (bits < 0 || n > UINT64_MAX >> bits)
		die(ST_USAGE, "%s: not a size: %s", escaped(what), escaped(text));
	return n << bits;
}

/* Pages, or a size with its suffix. */
static uint64_t parse_amount(unsigned limit, const char *text)
{
	size_t length = strlen(text);

	if (counts_pages(limit) && length && suffix_bits(text + length - 1) > 0)
		return parse_size(text, limit_names[limit]) / DX_PAGE;
	return parse_number(text, limit_names[limit]);
}

/* "name=value" */
static unsigned parse_limit(char *text, uint64_t *amount)
{
	char *value = strchr(text, '=');

	if (!value)
		die(ST_USAGE, "a limit is set as NAME=VALUE, not %s", escaped(text));
	*value++ = '\0';
	for (unsigned i = 0; i < DX_LIMITS; i++) {
		if (strcmp(limit_names[i], text) == 0) {
			*amount = parse_amount(i, value);
			return i;
		}
	}
	die(ST_USAGE, "%s: no such limit", escaped(text));
}

void limits_keep(uint64_t limit[DX_LIMITS])
{
	for (unsigned i = 0; i < DX_LIMITS; i++)
		limit[i] = DX_KEEP;
}

void limits_parse(char *text, uint64_t limit[DX_LIMITS])
{
	for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
		uint64_t amount;
		unsigned i = parse_limit(word, &amount);

		if (amount == DX_KEEP)
			die(ST_USAGE, "%s: too large", limit_names[i]);
		limit[i] = amount;
	}
}

/* --- the commands --- */

static void quota_json(uint32_t handle, const struct dx_quota *q)
{
	json_open(NULL, '{');
	json_number("handle", handle);
	for (unsigned i = 0; i < DX_LIMITS; i++) {
		json_open(limit_names[i], '{');
		json_number("limit", q->limit[i]);
		json_number("used", q->used[i]);
		json_number("own", q->own[i]);
		json_close('}');
	}
	json_close('}');
	json_line();
}

static void quota_print(const struct dx_quota *q)
{
	printf("%-10s %20s %14s %14s\n", "", "LIMIT", "USED", "BY IT ALONE");
	for (unsigned i = 0; i < DX_LIMITS; i++)
		printf("%-10s %20llu %14llu %14llu\n", limit_names[i],
			(unsigned long long)q->limit[i], (unsigned long long)q->used[i],
			(unsigned long long)q->own[i]);
}

/* Those that were named, up to the first that is refused. */
static void limits_set(uint32_t handle, const uint64_t limit[DX_LIMITS])
{
	for (unsigned i = 0; i < DX_LIMITS; i++) {
		struct dxio_limit l = {.handle = handle, .limit = i, .amount = limit[i]};

		if (limit[i] == DX_KEEP || dx_try(DXIO_LIMIT, (unsigned long)&l) >= 0)
			continue;
		if (errno == EBUSY)
			die(ST_STATE, "%s: more than that is used", limit_names[i]);
		die_errno(limit_names[i]);
	}
}

int cmd_quota(int argc, char **argv)
{
	struct dxio_quota q = {.handle = DX_SELF};
	uint64_t limit[DX_LIMITS];

	next_option(argc, argv, NULL);
	operands(argc, 0, INT_MAX);
	if (optind < argc && !strchr(argv[optind], '='))
		q.handle = child_find(argv[optind++], true);
	limits_keep(limit);
	for (; optind < argc; optind++)
		limits_parse(argv[optind], limit);
	limits_set(q.handle, limit);
	dx_do(DXIO_QUOTA, (unsigned long)&q, "quota");
	if (json)
		quota_json(q.handle, &q.quota);
	else
		quota_print(&q.quota);
	return ST_OK;
}

int cmd_priority(int argc, char **argv)
{
	static const struct option own[] = {{"weight", required_argument, NULL, 'w'}, {0}};
	struct dxio_priority p = {0};
	const char *weight = NULL;

	while (next_option(argc, argv, own) == 'w')
		weight = optarg;
	operands(argc, 2, 2);
	p.handle = child_find(argv[optind], true);
	p.priority = parse_u32(argv[optind + 1], "priority");
	p.weight = weight ? parse_u32(weight, "weight") : child_info(p.handle, argv[optind]).weight;
	/* One that never was set. */
	if (!weight && p.weight == 0)
		p.weight = DX_WEIGHT_DEFAULT;
	dx_do(DXIO_PRIORITY, (unsigned long)&p, "priority");
	if (json) {
		json_open(NULL, '{');
		json_number("handle", p.handle);
		json_number("priority", p.priority);
		json_number("weight", p.weight);
		json_close('}');
		json_line();
	}
	return ST_OK;
}

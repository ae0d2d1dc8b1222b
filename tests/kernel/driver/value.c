// SPDX-License-Identifier: GPL-2.0-only
/*
 * The text of a value, and whether it is allowed.
 *
 * Reading is by length, not up to a NUL: a NUL in what was written is as wrong
 * as any other byte, and must not hide what comes after it.
 */
#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "gfx.h"

static const char *const bool_words[] = { "off", "on" };

static int parse_word(const char *const *words, unsigned int nr, const char *text, size_t len,
		      u32 *value)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (strlen(words[i]) == len && !memcmp(words[i], text, len)) {
			*value = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Not kstrtou32(): that one takes a sign and guesses at bases. */
static int parse_int(const char *text, size_t len, u32 *value)
{
	u64 number = 0;
	size_t i;

	if (!len)
		return -EINVAL;
	for (i = 0; i < len; i++) {
		if (!isdigit(text[i]))
			return -EINVAL;
		number = number * 10 + (text[i] - '0');
		if (number > U32_MAX)
			return -EINVAL;
	}
	*value = number;
	return 0;
}

bool gfx_value_allowed(const struct gfx_offer *offer, u32 value)
{
	unsigned int i;

	for (i = 0; i < offer->nr_allowed; i++)
		if (value >= offer->allowed[i].min && value <= offer->allowed[i].max)
			return true;
	return false;
}

/* Text without its newline to an allowed value; -EINVAL for anything else. */
int gfx_value_parse(const struct gfx_offer *offer, const char *text, size_t len, u32 *value)
{
	const struct gfx_param *param = &gfx_params[offer->id];
	int err = -EINVAL;

	switch (param->type) {
	case GFX_BOOL:
		err = parse_word(bool_words, ARRAY_SIZE(bool_words), text, len, value);
		break;
	case GFX_INT:
		err = parse_int(text, len, value);
		break;
	case GFX_STR:
		err = parse_word(param->words, param->nr_words, text, len, value);
		break;
	}
	if (err)
		return err;
	return gfx_value_allowed(offer, *value) ? 0 : -EINVAL;
}

/* Canonical text without a newline; returns its length. */
int gfx_value_print(const struct gfx_param *param, u32 value, char *buf, size_t size)
{
	switch (param->type) {
	case GFX_BOOL:
		return scnprintf(buf, size, "%s", bool_words[value]);
	case GFX_STR:
		return scnprintf(buf, size, "%s", param->words[value]);
	case GFX_INT:
		break;
	}
	return scnprintf(buf, size, "%u", value);
}

/* A str may contain blanks, so its values stand one per line. */
int gfx_allowed_print(const struct gfx_offer *offer, char *buf, size_t size)
{
	const struct gfx_param *param = &gfx_params[offer->id];
	const char *separator = param->type == GFX_STR ? "\n" : " ";
	unsigned int i;
	int at = 0;

	for (i = 0; i < offer->nr_allowed; i++) {
		const struct gfx_span *span = &offer->allowed[i];

		if (i)
			at += scnprintf(buf + at, size - at, "%s", separator);
		at += gfx_value_print(param, span->min, buf + at, size - at);
		if (span->max > span->min) {
			at += scnprintf(buf + at, size - at, "-");
			at += gfx_value_print(param, span->max, buf + at, size - at);
		}
	}
	return at;
}

/* The first allowed value that is not this one; this one if there is no other. */
u32 gfx_value_other(const struct gfx_offer *offer, u32 value)
{
	unsigned int i;

	for (i = 0; i < offer->nr_allowed; i++) {
		const struct gfx_span *span = &offer->allowed[i];

		if (span->min != value)
			return span->min;
		if (span->max > span->min)
			return span->min + 1;
	}
	return value;
}

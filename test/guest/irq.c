/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a device's interrupt does not reach the trusted VM that routed it, reaches one
 * that has not, or is lost to all when its VM unroutes it, drops its trust or ends, be it in the
 * midst of handling it.
 */
#include "guest.h"

#define SOURCE_MAX 126

static const struct device *disk;
static uint8_t ring[PAGE] __attribute__((aligned(PAGE)));
static uint8_t data[PAGE] __attribute__((aligned(PAGE)));
static struct blk blk;
static uint64_t data_hpa;

static struct sbiret route(uint64_t irq)
{
	return dx(DX_FID_IRQ_ROUTE, irq, 0, 0);
}

static struct sbiret unroute(uint64_t irq)
{
	return dx(DX_FID_IRQ_UNROUTE, irq, 0, 0);
}

static bool line(void)
{
	return csr_read(sip) & BIT(IRQ_EXT);
}

/* --- errors --- */

static void test_errors(void)
{
	static const uint64_t bad[] = {0, SOURCE_MAX + 1, 128, 1023, 1024, ~0u, 1ul << 32,
		(1ul << 32) + 8, 1ul << 63, ~0ul};
	uint64_t machines = m.plic_ndev - 2; /* two are the hypervisor's own */

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		check_err("route: no source", route(bad[i]), SBI_INVALID_PARAM);
	check_err("route: the generation ID's", route(machines + 1), SBI_INVALID_PARAM);
	check_err("route: the events'", route(machines + 2), SBI_INVALID_PARAM);
	check_err("route: the UART's", route(m.uart_irq), DX_ERR_EXISTS);
	check_err("unroute: above 32 bits", unroute(1ul << 32), SBI_INVALID_PARAM);
	check_err("unroute: above 32 bits", unroute(~0ul), SBI_INVALID_PARAM);
	for (uint64_t irq = 0; irq < 200; irq += 199)
		check_err("unroute: no source", unroute(irq), DX_ERR_NOENT);
	check_err("unroute: the UART's", unroute(m.uart_irq), DX_ERR_NOENT);
	check_err("unroute: nobody's", unroute(disk->irq), DX_ERR_NOENT);
	check_err("route", route(disk->irq), SBI_SUCCESS);
	check_err("route: again", route(disk->irq), SBI_SUCCESS);
	check_err("unroute", unroute(disk->irq), SBI_SUCCESS);
	check_err("unroute: again", unroute(disk->irq), DX_ERR_NOENT);
	check_err("route: the last of the machine's", route(machines), SBI_SUCCESS);
	check_err("unroute: the last of the machine's", unroute(machines), SBI_SUCCESS);
}

static void without_trust(uint64_t arg)
{
	(void)arg;
	checks_begin();
	check_err("route: its parent's", route(disk->irq), DX_ERR_EXISTS);
	check_err("unroute: its parent's", unroute(disk->irq), DX_ERR_NOENT);
	dx(DX_FID_DROP_TRUST, 0, 0, 0);
	check_err("route: no trust", route(disk->irq), SBI_DENIED);
	check_err("route: no trust, no source", route(0), SBI_DENIED);
	check_err("unroute: its parent's", unroute(disk->irq), DX_ERR_NOENT);
	dx_exit(checks_end());
}

static void test_others(void)
{
	check_err("route", route(disk->irq), SBI_SUCCESS);
	checks_add(dx_end(dx_spawn(without_trust, 0)).code);
	check_err("unroute", unroute(disk->irq), SBI_SUCCESS);
}

/* --- interrupts --- */

/* An interrupt that was on its way when its cause went away is taken, too, but not counted. */
static volatile uint64_t taken;

static void on_disk(struct hart *h, uint64_t irq)
{
	uint32_t source = irq == IRQ_EXT ? plic_claim((unsigned)h->id) : 0, why;

	if (source != disk->irq) {
		check_eq("an interrupt's source", source, 0);
		return;
	}
	why = get32(blk.regs + VIRTIO_IRQ);
	put32(blk.regs + VIRTIO_IRQ_ACK, why);
	plic_complete((unsigned)h->id, source);
	taken += why != 0;
}

static void open_disk(void)
{
	device_take(disk);
	blk_open(&blk, disk->base, ring);
	data_hpa = dx_pin(data);
}

/* One request, and no interrupt handled: the device wants one then. */
static void make_request(void)
{
	memset(data, 0, PAGE);
	blk_read(&blk, 0, data_hpa, PAGE);
	while (!get32(blk.regs + VIRTIO_IRQ))
		dx_yield();
	if (!disk_page_good(data, 0))
		broken("the disk's data", 0, 0, 0);
}

static void quiet_disk(void)
{
	put32(blk.regs + VIRTIO_IRQ_ACK, get32(blk.regs + VIRTIO_IRQ));
}

/* The interrupt of a request arrives at this hart, or the test hangs. */
static void take_one(const char *name)
{
	uint64_t before = taken;

	this_hart()->on_irq = on_disk;
	csr_set(sie, BIT(IRQ_EXT));
	irqs_on();
	blk_prepare(&blk, 0, data_hpa, PAGE);
	blk_start(&blk);
	while (taken == before)
		relax();
	irqs_off();
	csr_clear(sie, BIT(IRQ_EXT));
	blk_wait(&blk);
	check_eq(name, taken, before + 1);
}

/* Wherever this VM might see of an interrupt that is not its own. The request is done and the
 * device's line is up: what does not come now, does not come. */
static void take_none(const char *name)
{
	make_request();
	for (unsigned i = 0; i < 10; i++)
		dx_yield();
	check(name, !line() && !plic_pending(disk->irq) && !plic_claim((unsigned)this_hart()->id));
	quiet_disk();
}

static void begin(void)
{
	open_disk();
	plic_enable((unsigned)this_hart()->id, disk->irq, true);
}

static void end(void)
{
	plic_enable((unsigned)this_hart()->id, disk->irq, false);
	device_release(disk);
}

static void test_arrival(void)
{
	begin();
	take_none("not routed: nothing comes");
	route(disk->irq);
	for (unsigned i = 0; i < 3; i++)
		take_one("routed: it comes");
	unroute(disk->irq);
	take_none("unrouted: nothing comes");
	route(disk->irq);
	take_one("routed again: it comes");
	plic_enable((unsigned)this_hart()->id, disk->irq, false);
	take_none("not enabled: nothing comes");
	plic_enable((unsigned)this_hart()->id, disk->irq, true);
	take_one("enabled: it comes");
	end();
}

/* The line is up already when it is routed, and when it is enabled. */
static void test_late(void)
{
	begin();
	make_request();
	route(disk->irq);
	while (!line())
		relax();
	check_eq("routed late", plic_claim((unsigned)this_hart()->id), disk->irq);
	quiet_disk();
	plic_complete((unsigned)this_hart()->id, disk->irq);
	plic_enable((unsigned)this_hart()->id, disk->irq, false);
	make_request();
	plic_enable((unsigned)this_hart()->id, disk->irq, true);
	while (!line())
		relax();
	check_eq("enabled late", plic_claim((unsigned)this_hart()->id), disk->irq);
	quiet_disk();
	plic_complete((unsigned)this_hart()->id, disk->irq);
	end();
}

/* Unrouted in the midst of its handling. */
static void test_midst(void)
{
	begin();
	route(disk->irq);
	make_request();
	while (!line())
		relax();
	check_eq("it can be claimed", plic_claim((unsigned)this_hart()->id), disk->irq);
	unroute(disk->irq);
	check("unrouted while it is claimed", !line() && !plic_pending(disk->irq));
	quiet_disk();
	route(disk->irq);
	take_one("routed after it was claimed");
	make_request();
	while (!line())
		relax();
	unroute(disk->irq);
	check("unrouted while it is pending", !line() && !plic_pending(disk->irq));
	check_eq("nothing to claim", plic_claim((unsigned)this_hart()->id), 0);
	quiet_disk();
	route(disk->irq);
	take_one("routed after it was pending");
	end();
}

/* --- the end of who has it --- */

enum state { ROUTED, PENDING, CLAIMED, STATES };
enum way { EXIT, KILL, REBOOT, DROP, UNROUTE, WAYS };

/* Gets the interrupt into a state, and goes. */
static void be_in(uint64_t state, bool mapped)
{
	if (mapped)
		begin();
	else
		plic_enable((unsigned)this_hart()->id, disk->irq, true);
	route(disk->irq);
	if (state == ROUTED || !mapped)
		return;
	make_request();
	while (!line())
		relax();
	if (state == CLAIMED && plic_claim((unsigned)this_hart()->id) != disk->irq)
		broken("the interrupt cannot be claimed", state, 0, 0);
}

static bool quiet(void)
{
	return !line() && !plic_pending(disk->irq) && !plic_claim((unsigned)this_hart()->id);
}

static void leave(uint64_t arg)
{
	uint64_t way = arg & 15, state = arg >> 4 & 15;

	be_in(state, arg >> 8);
	if (way == EXIT)
		dx_exit(0);
	if (way == DROP)
		dx(DX_FID_DROP_TRUST, 0, 0, 0);
	if (way == UNROUTE)
		unroute(disk->irq);
	if (way == DROP || way == UNROUTE)
		say("%s", quiet() ? "quiet" : "loud");
	else
		say("%s", "ready");
	if (way == UNROUTE)
		dx_exit(0);
	for (;;)
		__asm__ volatile("wfi");
}

static char word[16] __attribute__((aligned(16)));

static void await_word(uint64_t child)
{
	while (!dx(DX_FID_CONSOLE_READ, child, (uintptr_t)word, sizeof(word)).value)
		dx_rest(0);
}

static void end_child(uint64_t child, uint64_t way)
{
	if (way == EXIT) {
		dx_await(child, DX_GONE);
		return;
	}
	await_word(child);
	if (way == DROP || way == UNROUTE)
		check("its state is quiet", !memcmp(word, "quiet", 5));
	if (way == KILL)
		dx(DX_FID_KILL, child, 0, 0);
	if (way == REBOOT)
		dx(DX_FID_REBOOT, child, 0, 0);
	if (way == KILL || way == UNROUTE)
		dx_await(child, DX_GONE);
}

static void test_end(uint64_t way, uint64_t state, bool mapped)
{
	uint64_t child = dx_spawn(leave, way | state << 4 | (uint64_t)mapped << 8);

	end_child(child, way);
	check_eq_at("the interrupt is free, by way and state", way | state << 4 | mapped << 8,
		(uint64_t)route(disk->irq).error, 0);
	begin();
	take_one("it comes to the next one");
	end();
	dx(DX_FID_KILL, child, 0, 0);
	dx_end(child);
}

static void test_ends(void)
{
	for (uint64_t way = 0; way < WAYS; way++) {
		for (uint64_t state = 0; state < STATES; state++)
			test_end(way, state, true);
		test_end(way, ROUTED, false);
	}
}

/* --- a fork has none of it --- */

static void forked(uint64_t arg)
{
	uint64_t id = this_hart()->id;
	bool enabled = get32(m.plic + 0x2080 + 0x100 * id) >> disk->irq & 1;

	(void)arg;
	dx_exit(quiet() && enabled);
}

static void test_fork(void)
{
	be_in(PENDING, true);
	dx_end_is("a fork: nothing is pending", dx_spawn(forked, 0), 1);
	check("with the parent it is still", line());
	check_eq("and can be claimed", plic_claim((unsigned)this_hart()->id), disk->irq);
	dx_end_is("a fork: nothing is claimed", dx_spawn(forked, 0), 1);
	quiet_disk();
	plic_complete((unsigned)this_hart()->id, disk->irq);
	take_one("it goes on with the parent");
	end();
}

/* --- from other harts --- */

static void take_on_other(struct hart *h)
{
	(void)h;
	plic_enable((unsigned)h->id, disk->irq, true);
	take_one("on another hart");
	plic_enable((unsigned)h->id, disk->irq, false);
}

static void test_harts(void)
{
	uint64_t here = this_hart()->irqs[IRQ_EXT];

	open_disk();
	route(disk->irq);
	for (unsigned i = 1; i < m.nharts; i++) {
		hart_start(i, take_on_other);
		hart_wait(i);
	}
	check_eq("none on this one", this_hart()->irqs[IRQ_EXT], here);
	device_release(disk);
}

/* Requests and interrupts go on on one hart while another drops the trust. What the first one does
 * may fail from some moment on. */
static volatile uint64_t handled;

static void handle_busy(struct hart *h)
{
	uint32_t source = plic_claim((unsigned)h->id);
	uint64_t why = 0;

	try_load_value(disk->base + VIRTIO_IRQ, 4, &why);
	try_store(disk->base + VIRTIO_IRQ_ACK, 4, why);
	plic_complete((unsigned)h->id, source);
	handled++;
}

static void keep_busy(struct hart *h)
{
	plic_enable((unsigned)h->id, disk->irq, true);
	while (!try_load(disk->base, 4).taken) {
		if (blk_done(&blk) == (uint16_t)(blk.given - blk.taken)) {
			blk.taken = blk.given;
			blk_prepare(&blk, 0, data_hpa, PAGE);
			blk_expose(&blk);
			try_store(disk->base + BLK_NOTIFY, 4, 0);
		}
		if (line())
			handle_busy(h);
	}
}

static void drop_busy(uint64_t arg)
{
	(void)arg;
	open_disk();
	route(disk->irq);
	handled = 0;
	hart_start(1, keep_busy);
	while (handled < 10)
		dx_yield();
	dx(DX_FID_DROP_TRUST, 0, 0, 0);
	while (sbi_hart_status(1) != HSM_STOPPED)
		dx_yield();
	plic_enable(1, disk->irq, false);
	plic_enable((unsigned)this_hart()->id, disk->irq, true);
	dx_exit(quiet());
}

static void test_busy(void)
{
	for (unsigned i = 0; i < 8 && m.nharts > 1; i++) {
		dx_end_is("dropped under load, its state is quiet", dx_spawn(drop_busy, 0), 1);
		begin();
		route(disk->irq);
		take_one("it comes to the next one");
		end();
	}
}

static void test_all(void)
{
	test_errors();
	test_others();
	test_arrival();
	test_late();
	test_midst();
	test_ends();
	test_fork();
	test_harts();
	test_busy();
}

void guest_main(void)
{
	disk = blk_find();
	device_release(disk);
	dx_run(test_all);
	uint64_t before = dx_pages();

	dx_run(test_all);
	check_eq("not one page lost", dx_pages(), before);
}

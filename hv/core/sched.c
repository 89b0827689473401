/* SPDX-License-Identifier: MIT */
/* The scheduler of sched.h. */
#include "core/sched.h"
#include "core/bug.h"

#define KEY_PRIO_SHIFT                                                                             \
	60 /* above: how low the priority is; below: vruntime in ticks, which never gets that far  \
	    */
#define KEY_VRUNTIME (BIT(KEY_PRIO_SHIFT) - 1)
#define KEY_NONE     UINT64_MAX
/* Virtual time begins high, so that no reading of a clock that is a little old makes a vruntime
 * negative. */
#define VRUNTIME_START BIT(48)
#define PRIO_NONE      (KEY_NONE >> KEY_PRIO_SHIFT) /* lower than any: idle */

struct runqueue {
	struct spinlock lock;
	struct heap ready, timers;
	struct sched_entity *running;
	uint64_t since;     /* when `running` was picked or last accounted */
	uint64_t slice_end; /* SCHED_NEVER while nobody waits */
	/* written under lock, read by others without it as hints: */
	uint64_t top_key;  /* key of the first ready entity, KEY_NONE when there is none */
	uint64_t run_base; /* key of the running one less the time it was accounted at, so that
			    * adding the time now gives its key now; KEY_NONE when idle */
	bool wfi_stays;    /* told by sched_contended that nobody waits: a WFI keeps the PCPU */
} aligned(64);

static struct {
	uint32_t npcpus;
	uint64_t slice;
	sched_kick_fn *kick;
	struct runqueue rq[SCHED_MAX_PCPUS];
	/* By priority; they only grow. `clock` is virtual time as last looked at; `stopped` the
	 * largest vruntime with which an entity stopped running, which is where virtual time stands
	 * while nobody runs or waits. */
	uint64_t clock[SCHED_MAX_PRIORITY + 1], stopped[SCHED_MAX_PRIORITY + 1];
} sched;

static uint64_t peek(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void publish(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static uint64_t key_of(const struct sched_entity *e)
{
	return (uint64_t)(SCHED_MAX_PRIORITY - e->priority) << KEY_PRIO_SHIFT | e->vruntime;
}

static uint64_t key_prio(uint64_t key)
{
	return key >> KEY_PRIO_SHIFT;
}

static struct sched_entity *entity_of(struct heap_node *n)
{
	return n ? container_of(n, struct sched_entity, ready) : NULL;
}

void sched_init(uint32_t npcpus, uint64_t slice, sched_kick_fn *kick)
{
	BUG_ON(npcpus == 0 || npcpus > SCHED_MAX_PCPUS);
	sched.npcpus = npcpus;
	for (unsigned i = 0; i <= SCHED_MAX_PRIORITY; i++)
		sched.clock[i] = sched.stopped[i] = VRUNTIME_START;
	sched.slice = slice;
	sched.kick = kick;
	for (uint32_t i = 0; i < npcpus; i++)
		sched.rq[i] = (struct runqueue){
			.slice_end = SCHED_NEVER, .top_key = KEY_NONE, .run_base = KEY_NONE};
}

void sched_entity_init(struct sched_entity *e, uint32_t home, uint8_t priority)
{
	BUG_ON(home >= sched.npcpus || priority > SCHED_MAX_PRIORITY);
	*e = (struct sched_entity){.state = SCHED_OFF, .home = home, .priority = priority};
}

static void refresh_top(struct runqueue *rq)
{
	struct heap_node *top = heap_min(&rq->ready);

	publish(&rq->top_key, top ? top->key : KEY_NONE);
}

/* A slice runs only while somebody of the same priority waits; one that is higher gets the PCPU by
 * a kick. */
static void refresh_slice(struct runqueue *rq, uint64_t now)
{
	bool contended = rq->running && key_prio(rq->top_key) <= key_prio(key_of(rq->running));

	if (!contended)
		rq->slice_end = SCHED_NEVER;
	else if (rq->slice_end == SCHED_NEVER)
		rq->slice_end = now + sched.slice;
}

static void enqueue(struct runqueue *rq, struct sched_entity *e, uint64_t now)
{
	heap_insert(&rq->ready, &e->ready, key_of(e));
	e->state = SCHED_READY;
	e->ready_since = now;
	refresh_top(rq);
	refresh_slice(rq, now);
}

static void dequeue(struct runqueue *rq, struct sched_entity *e)
{
	heap_remove(&rq->ready, &e->ready);
	refresh_top(rq);
}

static void publish_running(struct runqueue *rq)
{
	const struct sched_entity *e = rq->running;

	if (e)
		publish(&rq->run_base,
			(key_of(e) & ~KEY_VRUNTIME) | ((e->vruntime - rq->since) & KEY_VRUNTIME));
	else
		publish(&rq->run_base, KEY_NONE);
}

/* The key of what PCPU `i` runs as it is at `now`; KEY_NONE when it is idle. */
static uint64_t running_key(uint32_t i, uint64_t now)
{
	uint64_t base = peek(&sched.rq[i].run_base);

	if (base == KEY_NONE)
		return KEY_NONE;
	return (base & ~KEY_VRUNTIME) | ((base + now) & KEY_VRUNTIME);
}

static bool is_idle(uint32_t i)
{
	return peek(&sched.rq[i].run_base) == KEY_NONE && peek(&sched.rq[i].top_key) == KEY_NONE;
}

/* Charges the running entity up to `now`. */
static void account(struct runqueue *rq, uint64_t now)
{
	uint64_t ran = now - rq->since;

	rq->running->vruntime += ran;
	rq->running->run_ticks += ran;
	rq->since = now;
	publish_running(rq);
}

static struct runqueue *lock_home(const struct sched_entity *e)
{
	for (;;) {
		uint32_t home = __atomic_load_n(&e->home, __ATOMIC_RELAXED);
		struct runqueue *rq = &sched.rq[home];

		spin_lock(&rq->lock);
		if (__atomic_load_n(&e->home, __ATOMIC_RELAXED) == home)
			return rq;
		spin_unlock(&rq->lock);
	}
}

static void raise(uint64_t *clock, uint64_t to)
{
	uint64_t at = peek(clock);

	while (at < to && !__atomic_compare_exchange_n(
				  clock, &at, to, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* Virtual time of `e`'s priority: the least vruntime of those that run or wait. */
static uint64_t virtual_now(const struct sched_entity *e, uint64_t now)
{
	uint64_t prio = key_prio(key_of(e)), least = KEY_NONE;

	for (uint32_t i = 0; i < sched.npcpus; i++) {
		uint64_t run = running_key(i, now), top = peek(&sched.rq[i].top_key);

		if (key_prio(run) == prio)
			least = MIN(least, run);
		if (key_prio(top) == prio)
			least = MIN(least, top);
	}
	return least == KEY_NONE ? peek(&sched.stopped[e->priority]) : least & KEY_VRUNTIME;
}

/* Who slept, or is new, is at most one slice behind: behind the clock, not behind those that were
 * let in a slice behind just before. */
static void forfeit(struct sched_entity *e, uint64_t now)
{
	raise(&sched.clock[e->priority], virtual_now(e, now));
	uint64_t floor = peek(&sched.clock[e->priority]);

	if (floor > sched.slice && e->vruntime < floor - sched.slice)
		e->vruntime = floor - sched.slice;
}

/* Where a waking entity goes: home if idle, else another idle PCPU, else the one that runs the
 * lowest priority below its own, else home. */
static uint32_t place(const struct sched_entity *e)
{
	uint32_t best = e->home;
	uint64_t lowest = key_prio(key_of(e));

	if (is_idle(e->home))
		return e->home;
	for (uint32_t i = 0; i < sched.npcpus; i++) {
		uint64_t prio = key_prio(peek(&sched.rq[i].run_base));

		if (is_idle(i))
			return i;
		if (prio != PRIO_NONE && prio > lowest) {
			best = i;
			lowest = prio;
		}
	}
	return best;
}

/* The first of all that wait anywhere. */
static uint64_t least_waiting(void)
{
	uint64_t least = KEY_NONE;

	for (uint32_t i = 0; i < sched.npcpus; i++)
		least = MIN(least, peek(&sched.rq[i].top_key));
	return least;
}

/* Something waits, and no PCPU is on its way to it: calls an idle PCPU to fetch it, or else those
 * whose running entity is a slice or more ahead, and those that must learn that a WFI gives the
 * PCPU away. The one that comes calls the next, as long as there is something for it. The fence
 * pairs with those in sched_pick and sched_contended: either this sees what they published, or they
 * see what waits. */
static void invite(uint32_t self, uint64_t now)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint64_t key = least_waiting();

	if (key == KEY_NONE)
		return;
	for (uint32_t i = 0; i < sched.npcpus; i++) {
		if (i != self && is_idle(i)) {
			sched.kick(i);
			return;
		}
	}
	for (uint32_t i = 0; i < sched.npcpus; i++) {
		uint64_t run = running_key(i, now);
		bool ahead = run != KEY_NONE && run > key + sched.slice;

		bool stays = __atomic_load_n(&sched.rq[i].wfi_stays, __ATOMIC_RELAXED);

		/* Ourselves too, when what we just began to run should not be running. */
		if (ahead || (stays && i != self))
			sched.kick(i);
	}
}

static void insert_at(uint32_t pcpu, struct sched_entity *e, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];
	uint64_t key = key_of(e);

	spin_lock(&rq->lock);
	bool had_slice = rq->slice_end != SCHED_NEVER, was_empty = rq->top_key == KEY_NONE;

	enqueue(rq, e, now);
	bool runs_now = !rq->running || key_prio(key) < key_prio(key_of(rq->running));
	bool new_slice = !had_slice && rq->slice_end != SCHED_NEVER;

	spin_unlock(&rq->lock);
	/* Also when it only waits: a WFI of the one that runs must give way from now on. */
	if (runs_now || new_slice || was_empty)
		sched.kick(pcpu);
	if (!runs_now)
		invite(pcpu, now);
}

/* Takes `e` out of OFF or BLOCKED and queues it where it fits best; `home` is its home's run queue,
 * locked, and is unlocked. Until insert_at it is READY but in no heap: a wake meanwhile sees READY
 * and leaves it alone. */
static void launch(struct runqueue *home, struct sched_entity *e, uint64_t now)
{
	heap_remove(&home->timers, &e->timer);
	forfeit(e, now);
	uint32_t target = place(e);

	e->state = SCHED_READY;
	__atomic_store_n(&e->home, target, __ATOMIC_RELAXED);
	spin_unlock(&home->lock);
	insert_at(target, e, now);
}

void sched_wake(struct sched_entity *e, uint64_t now)
{
	struct runqueue *rq = lock_home(e);

	if (e->state == SCHED_BLOCKED) {
		launch(rq, e, now);
		return;
	}
	e->wake_latched |= e->state == SCHED_RUNNING;
	spin_unlock(&rq->lock);
}

void sched_start(struct sched_entity *e, uint64_t now)
{
	struct runqueue *rq = lock_home(e);

	BUG_ON(e->state != SCHED_OFF);
	launch(rq, e, now);
}

void sched_put(
	uint32_t pcpu, struct sched_entity *e, enum sched_state to, uint64_t wake_at, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	spin_lock(&rq->lock);
	BUG_ON(rq->running != e || e->state != SCHED_RUNNING || to == SCHED_RUNNING);
	account(rq, now);
	raise(&sched.stopped[e->priority], e->vruntime);
	rq->running = NULL;
	rq->slice_end = SCHED_NEVER;
	publish_running(rq);
	if (to == SCHED_BLOCKED && (e->wake_latched || wake_at <= now))
		to = SCHED_READY;
	e->wake_latched = false;
	e->state = to;
	if (to == SCHED_READY)
		enqueue(rq, e, now);
	else if (to == SCHED_BLOCKED && wake_at != SCHED_NEVER)
		heap_insert(&rq->timers, &e->timer, wake_at);
	spin_unlock(&rq->lock);
}

/* The other PCPU with the first waiting entity that should go before one with `key`;
 * SCHED_MAX_PCPUS when there is none. A whole slice of difference is asked for among equals, so
 * that entities do not bounce. */
static uint32_t find_victim(uint32_t self, uint64_t key)
{
	uint32_t victim = SCHED_MAX_PCPUS;
	uint64_t bar = key == KEY_NONE ? KEY_NONE
				       : key - MIN(sched.slice, key & (BIT(KEY_PRIO_SHIFT) - 1));

	for (uint32_t i = 0; i < sched.npcpus; i++) {
		uint64_t top = peek(&sched.rq[i].top_key);

		if (i != self && top < bar) {
			victim = i;
			bar = top;
		}
	}
	return victim;
}

static void lock_both(uint32_t a, uint32_t b)
{
	spin_lock(&sched.rq[MIN(a, b)].lock);
	spin_lock(&sched.rq[MAX(a, b)].lock);
}

/* Moves the first ready entity of `from` into `to`'s queue, if there still is one. */
static void steal(uint32_t from, uint32_t to, uint64_t now)
{
	lock_both(from, to);
	struct sched_entity *e = entity_of(heap_min(&sched.rq[from].ready));

	if (e) {
		uint64_t since = e->ready_since;

		dequeue(&sched.rq[from], e);
		refresh_slice(&sched.rq[from], now);
		__atomic_store_n(&e->home, to, __ATOMIC_RELAXED);
		enqueue(&sched.rq[to], e, now);
		e->ready_since = since;
	}
	spin_unlock(&sched.rq[from].lock);
	spin_unlock(&sched.rq[to].lock);
}

static void start_running(struct runqueue *rq, struct sched_entity *e, uint64_t now)
{
	dequeue(rq, e);
	e->state = SCHED_RUNNING;
	/* Another PCPU may have stamped it with a later reading of the clock than ours. */
	if (now > e->ready_since)
		e->wait_ticks += now - e->ready_since;
	rq->running = e;
	rq->since = now;
	publish_running(rq);
	refresh_slice(rq, now);
}

struct sched_entity *sched_pick(uint32_t pcpu, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* see invite */
	uint32_t victim = find_victim(pcpu, peek(&rq->top_key));

	if (victim != SCHED_MAX_PCPUS)
		steal(victim, pcpu, now);
	spin_lock(&rq->lock);
	struct sched_entity *e = entity_of(heap_min(&rq->ready));

	BUG_ON(rq->running);
	if (e)
		start_running(rq, e, now);
	spin_unlock(&rq->lock);
	if (e)
		invite(pcpu, now);
	return e;
}

/* Wakes one entity whose time has come; false when there is none. */
static bool expire_one(struct runqueue *rq, uint64_t now)
{
	spin_lock(&rq->lock);
	struct heap_node *n = heap_min(&rq->timers);

	if (!n || n->key > now) {
		spin_unlock(&rq->lock);
		return false;
	}
	launch(rq, container_of(n, struct sched_entity, timer), now);
	return true;
}

void sched_expire(uint32_t pcpu, uint64_t now)
{
	while (expire_one(&sched.rq[pcpu], now))
		;
}

bool sched_tick(uint32_t pcpu, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	sched_expire(pcpu, now);
	spin_lock(&rq->lock);
	BUG_ON(!rq->running);
	account(rq, now);
	refresh_slice(rq, now);
	uint64_t key = key_of(rq->running), top = rq->top_key;
	bool over = rq->slice_end <= now;
	bool yield = key_prio(top) < key_prio(key) || (over && top < key);

	if (!yield && over)
		rq->slice_end = now + sched.slice;
	spin_unlock(&rq->lock);
	if (!yield && over)
		invite(pcpu, now);
	return yield || find_victim(pcpu, key) != SCHED_MAX_PCPUS;
}

uint64_t sched_deadline(uint32_t pcpu)
{
	struct runqueue *rq = &sched.rq[pcpu];

	spin_lock(&rq->lock);
	struct heap_node *n = heap_min(&rq->timers);
	uint64_t when = n ? MIN(n->key, rq->slice_end) : rq->slice_end;

	spin_unlock(&rq->lock);
	return when;
}

bool sched_contended(uint32_t pcpu)
{
	struct runqueue *rq = &sched.rq[pcpu];
	bool contended = least_waiting() != KEY_NONE;

	__atomic_store_n(&rq->wfi_stays, !contended, __ATOMIC_RELAXED);
	if (contended)
		return true;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* see invite */
	if (least_waiting() == KEY_NONE)
		return false;
	__atomic_store_n(&rq->wfi_stays, false, __ATOMIC_RELAXED);
	return true;
}

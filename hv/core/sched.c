/* SPDX-License-Identifier: MIT */
/* The scheduler of sched.h. */
#include "core/sched.h"
#include "core/bug.h"

#define KEY_PRIO_SHIFT 60 /* above: how low the priority is; below: vruntime, never that large */
/* Virtual time begins high, so that what lies a little before it is not negative. */
#define CLOCK_START BIT(48)

/* How urgent something is: 0 is nothing at all, then the priorities; the Root VM's share last. */
#define RANK_NONE   0
#define RANK(prio)  ((prio) + UINT64_C(1))
#define RANK_LIFTED RANK(SCHED_MAX_PRIORITY + 1)

#define ROOT_PATIENCE 7  /* slices that the Root VM's VCPUs wait before one is lifted */
#define REKEY_MAX     16 /* queues put in order during one look for the first */
#define BALANCE_MAX   8  /* PCPUs looked at when a slice ends */

struct runqueue {
	struct spinlock lock;
	struct heap ready; /* the trees with something ready */
	struct heap timers;
	struct sched_entity *running;
	uint8_t running_prio; /* when it was last accounted */
	bool lifted;          /* it runs in the Root VM's share */
	uint64_t slice_end;   /* SCHED_NEVER while nobody waits */
	uint64_t lift_at;     /* when one of the Root VM's that wait here is lifted */
	/* of the PCPU alone: when it looks at others again, and after which */
	uint64_t balance_at;
	uint32_t looked;
	/* written under lock, read by others without it as hints: */
	uint64_t since; /* when `running` was picked or last accounted */
	uint64_t top;   /* rank of the first that waits */
	uint64_t run;   /* rank of what runs; RANK_NONE when idle */
	uint64_t alarm; /* the PCPU wants to be kicked when this rank, or a higher one, waits */
} aligned(64);

static struct {
	uint32_t npcpus;
	uint64_t slice;
	sched_kick_fn *kick;
	const struct sched_node *root; /* the Root VM's own VCPUs */
	struct runqueue rq[SCHED_MAX_PCPUS];
} sched;

static uint64_t peek(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void publish(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static void raise(uint64_t *p, uint64_t to)
{
	uint64_t at = peek(p);

	while (at < to &&
		!__atomic_compare_exchange_n(p, &at, to, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static unsigned key_prio(uint64_t key)
{
	return SCHED_MAX_PRIORITY - (unsigned)(key >> KEY_PRIO_SHIFT);
}

static uint64_t key_of(const struct sched_node *n, unsigned prio)
{
	return (uint64_t)(SCHED_MAX_PRIORITY - prio) << KEY_PRIO_SHIFT | peek(&n->vruntime[prio]);
}

static struct sched_entity *entity_of(struct heap_node *n)
{
	return n ? container_of(n, struct sched_entity, ready) : NULL;
}

void sched_init(uint32_t npcpus, uint64_t slice, sched_kick_fn *kick)
{
	BUG_ON(npcpus == 0 || npcpus > SCHED_MAX_PCPUS);
	sched.npcpus = npcpus;
	sched.slice = slice;
	sched.kick = kick;
	sched.root = NULL;
	for (uint32_t i = 0; i < npcpus; i++)
		sched.rq[i] = (struct runqueue){
			.slice_end = SCHED_NEVER, .lift_at = SCHED_NEVER, .looked = i};
}

/* --- groups --- */

size_t sched_group_size(void)
{
	return sizeof(struct sched_group) + 2 * sched.npcpus * sizeof(struct sched_queue);
}

static void node_init(
	struct sched_node *n, struct sched_node *parent, struct sched_queue *on, uint32_t weight)
{
	*n = (struct sched_node){.parent = parent, .on = on, .weight = weight};
	n->depth = parent ? parent->depth + 1 : 0;
	for (unsigned i = 0; i <= SCHED_MAX_PRIORITY; i++)
		n->clock[i] = CLOCK_START;
	for (uint32_t i = 0; on && i < sched.npcpus; i++)
		on[i] = (struct sched_queue){.node = n};
}

void sched_group_set_weight(struct sched_group *g, uint32_t weight)
{
	BUG_ON(weight < SCHED_MIN_WEIGHT || weight > SCHED_MAX_WEIGHT);
	__atomic_store_n(&g->subtree.weight, weight, __ATOMIC_RELAXED);
}

void sched_group_init(struct sched_group *g, struct sched_group *parent, uint32_t weight)
{
	node_init(&g->subtree, parent ? &parent->subtree : NULL, g->queues + sched.npcpus, weight);
	node_init(&g->own, &g->subtree, g->queues, SCHED_DEFAULT_WEIGHT);
	g->own.own = true;
	sched_group_set_weight(g, weight);
	if (!parent)
		sched.root = &g->own;
}

void sched_group_remove(struct sched_group *g)
{
	for (uint32_t i = 0; i < sched.npcpus; i++) {
		spin_lock(&sched.rq[i].lock);
		spin_unlock(&sched.rq[i].lock);
	}
	for (unsigned i = 0; i <= SCHED_MAX_PRIORITY; i++)
		BUG_ON(g->subtree.active[i]);
}

void sched_entity_init(
	struct sched_entity *e, struct sched_group *g, uint32_t home, uint8_t priority)
{
	BUG_ON(home >= sched.npcpus || priority > SCHED_MAX_PRIORITY);
	*e = (struct sched_entity){.state = SCHED_OFF, .home = home, .priority = priority};
	node_init(&e->node, &g->own, NULL, SCHED_DEFAULT_WEIGHT);
}

/* --- time --- */

/* What `ticks` of CPU time are in the vruntime of `n`. */
static uint64_t weighted(const struct sched_node *n, uint64_t ticks)
{
	uint64_t weight = __atomic_load_n(&n->weight, __ATOMIC_RELAXED);

	return (ticks * SCHED_DEFAULT_WEIGHT + weight - 1) / weight;
}

static void charge(struct sched_node *n, unsigned prio, uint64_t ran)
{
	uint64_t *clock = &n->parent->clock[prio], slice = weighted(n, sched.slice);
	uint64_t v = __atomic_add_fetch(&n->vruntime[prio], weighted(n, ran), __ATOMIC_RELAXED);

	raise(clock, v - slice);
	raise(&n->vruntime[prio], peek(clock) - SCHED_LAG_MAX * slice);
}

/* Charges the running entity up to `now`. The Root VM's share is not held against it. */
static void account(struct runqueue *rq, uint64_t now)
{
	struct sched_node *n = &rq->running->node;

	if (now > rq->since) {
		uint64_t ran = now - rq->since;

		for (; n; n = n->parent) {
			__atomic_fetch_add(&n->run_ticks, ran, __ATOMIC_RELAXED);
			if (n->parent && !rq->lifted)
				charge(n, rq->running_prio, ran);
		}
		publish(&rq->since, now);
	}
	rq->running_prio = rq->running->priority;
}

/* Brings virtual time up to date, to a slice: that of PCPUs which have no slices stands still. One
 * that is locked is doing so itself. */
static void settle(uint64_t now)
{
	for (uint32_t i = 0; i < sched.npcpus; i++) {
		struct runqueue *rq = &sched.rq[i];

		if (peek(&rq->alarm) > peek(&rq->run) || peek(&rq->since) + sched.slice >= now ||
			spin_is_locked(&rq->lock))
			continue;
		spin_lock(&rq->lock);
		if (rq->running)
			account(rq, now);
		spin_unlock(&rq->lock);
	}
}

uint64_t sched_group_ticks(const struct sched_group *g, uint64_t now)
{
	settle(now);
	return peek(&g->own.run_ticks);
}

/* `e` is about to wait or run: it, and each level that had nobody before, forfeits what it did not
 * use. */
static void activate(struct sched_entity *e)
{
	unsigned prio = e->priority;

	for (struct sched_node *n = &e->node; n->parent; n = n->parent) {
		uint64_t clock = peek(&n->parent->clock[prio]);

		raise(&n->vruntime[prio], clock - weighted(n, sched.slice));
		if (__atomic_fetch_add(&n->parent->active[prio], 1, __ATOMIC_RELAXED))
			return;
	}
}

static void deactivate(struct sched_entity *e)
{
	for (struct sched_node *n = e->node.parent; n; n = n->parent)
		if (__atomic_sub_fetch(&n->active[e->priority], 1, __ATOMIC_RELAXED))
			return;
}

/* --- queues --- */

/* The rank of the first that waits anywhere. */
static uint64_t waiting(void)
{
	uint64_t most = RANK_NONE;

	for (uint32_t i = 0; i < sched.npcpus; i++)
		most = MAX(most, peek(&sched.rq[i].top));
	return most;
}

/* A slice runs only while somebody of the same priority waits; one that is higher gets the PCPU by
 * a kick. */
static void refresh_slice(struct runqueue *rq, uint64_t now)
{
	if (!rq->running || (!rq->lifted && waiting() < rq->run))
		rq->slice_end = SCHED_NEVER;
	else if (rq->slice_end == SCHED_NEVER)
		rq->slice_end = now + sched.slice;
}

static bool is_roots(const struct sched_entity *e)
{
	return e && e->node.parent == sched.root;
}

/* After a change of what waits or runs at PCPU `i`. */
static void refresh(uint32_t i, uint64_t now)
{
	struct runqueue *rq = &sched.rq[i];
	struct heap_node *top = heap_min(&rq->ready);

	publish(&rq->top, top ? RANK(key_prio(top->key)) : RANK_NONE);
	refresh_slice(rq, now);
	if (is_roots(rq->running) || !sched.root || !heap_min(&sched.root->on[i].ready))
		rq->lift_at = SCHED_NEVER;
	else if (rq->lift_at == SCHED_NEVER && rq->running)
		rq->lift_at = now + ROOT_PATIENCE * sched.slice;
}

/* Puts `n`, whose queue at PCPU `i` has changed, and what it is in where they now belong. */
static void requeue(struct sched_node *n, uint32_t i)
{
	for (; n; n = n->parent) {
		struct heap *above = n->parent ? &n->parent->on[i].ready : &sched.rq[i].ready;
		struct heap_node *top = heap_min(&n->on[i].ready), *link = &n->on[i].link;

		if (top && link->queued && key_prio(top->key) == key_prio(link->key))
			return;
		heap_remove(above, link);
		if (top)
			heap_insert(above, link, key_of(n, key_prio(top->key)));
	}
}

static void enqueue(uint32_t i, struct sched_entity *e, uint64_t now)
{
	struct sched_node *n = e->node.parent;

	heap_insert(&n->on[i].ready, &e->ready, key_of(&e->node, e->priority));
	requeue(n, i);
	e->state = SCHED_READY;
	e->ready_since = now;
	refresh(i, now);
}

static void dequeue(uint32_t i, struct sched_entity *e, uint64_t now)
{
	struct sched_node *n = e->node.parent;

	heap_remove(&n->on[i].ready, &e->ready);
	requeue(n, i);
	refresh(i, now);
}

/* The least served queue in `h`. What was served elsewhere since it was put there is moved back
 * first: as many as `budget` says, so the rest of a crowd may have its turn a little early. */
static struct sched_node *least_served(struct heap *h, unsigned *budget)
{
	for (;;) {
		struct heap_node *link = heap_min(h);

		if (!link)
			return NULL;
		struct sched_node *n = container_of(link, struct sched_queue, link)->node;
		uint64_t key = key_of(n, key_prio(link->key));

		if (key == link->key || !*budget)
			return n;
		--*budget;
		heap_remove(h, link);
		heap_insert(h, link, key);
	}
}

/* Who goes first of all that wait at PCPU `i`. */
static struct sched_entity *first(uint32_t i)
{
	unsigned budget = REKEY_MAX;
	struct sched_node *n = least_served(&sched.rq[i].ready, &budget);

	while (n && !n->own)
		n = least_served(&n->on[i].ready, &budget);
	return n ? entity_of(heap_min(&n->on[i].ready)) : NULL;
}

/* Of two entities of one priority, that wait or run at PCPUs whose run queues are locked: `a` has
 * had less than `b`, by more than `slices` of its own, where their paths from the root part. */
static bool behind(const struct sched_entity *a, const struct sched_entity *b, unsigned slices)
{
	const struct sched_node *x = &a->node, *y = &b->node;
	unsigned prio = a->priority;

	while (x->parent != y->parent) {
		bool up = x->depth >= y->depth, down = y->depth >= x->depth;

		x = up ? x->parent : x;
		y = down ? y->parent : y;
	}
	return peek(&x->vruntime[prio]) + slices * weighted(x, sched.slice) <
	       peek(&y->vruntime[prio]);
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

/* --- waking --- */

/* The rank of what runs at PCPU `i`, or will at once. */
static uint64_t busy(uint32_t i)
{
	return MAX(peek(&sched.rq[i].run), peek(&sched.rq[i].top));
}

/* Where a waking entity goes: home if idle, else another idle PCPU, else the one that runs the
 * lowest priority below its own, else home. */
static uint32_t place(const struct sched_entity *e)
{
	uint32_t best = e->home;
	uint64_t least = MIN(busy(best), RANK(e->priority));

	for (uint32_t i = 0; i < sched.npcpus; i++) {
		if (busy(i) < least) {
			best = i;
			least = busy(i);
		}
	}
	return best;
}

/* Something may wait, and no PCPU is on its way to it: calls an idle PCPU to fetch it, or else all
 * that want to know. The one that comes calls the next, as long as there is something for it. The
 * fence pairs with those in sched_pick and sched_contended: either this sees what they published,
 * or they see what waits. */
static void invite(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint64_t rank = waiting();

	if (rank == RANK_NONE)
		return;
	for (uint32_t i = 0; i < sched.npcpus; i++) {
		if (busy(i) == RANK_NONE) {
			sched.kick(i);
			return;
		}
	}
	for (uint32_t i = 0; i < sched.npcpus; i++)
		if (peek(&sched.rq[i].alarm) <= rank)
			sched.kick(i);
}

static void insert_at(uint32_t pcpu, struct sched_entity *e, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	spin_lock(&rq->lock);
	enqueue(pcpu, e, now);
	bool runs_now = rq->run < RANK(e->priority);

	spin_unlock(&rq->lock);
	if (runs_now)
		sched.kick(pcpu);
	else
		invite();
}

/* Takes `e` out of OFF or BLOCKED and queues it where it fits best; `home` is its home's run queue,
 * locked, and is unlocked. Until insert_at it is READY but in no heap: a wake meanwhile sees READY
 * and leaves it alone. */
static void launch(struct runqueue *home, struct sched_entity *e, uint64_t now)
{
	heap_remove(&home->timers, &e->timer);
	activate(e);
	uint32_t target = place(e);

	e->state = SCHED_READY;
	__atomic_store_n(&e->home, target, __ATOMIC_RELAXED);
	spin_unlock(&home->lock);
	insert_at(target, e, now);
}

void sched_wake(struct sched_entity *e, uint64_t now)
{
	settle(now);
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
	settle(now);
	struct runqueue *rq = lock_home(e);

	BUG_ON(e->state != SCHED_OFF);
	launch(rq, e, now);
}

void sched_expire(uint32_t pcpu, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];
	struct heap_node *n;

	settle(now);
	spin_lock(&rq->lock);
	while ((n = heap_min(&rq->timers)) && n->key <= now) {
		launch(rq, container_of(n, struct sched_entity, timer), now);
		spin_lock(&rq->lock);
	}
	spin_unlock(&rq->lock);
}

void sched_set_priority(struct sched_entity *e, uint8_t priority)
{
	BUG_ON(priority > SCHED_MAX_PRIORITY);
	struct runqueue *rq = lock_home(e);
	uint32_t home = e->home;
	bool active = e->state == SCHED_READY || e->state == SCHED_RUNNING,
	     queued = e->ready.queued;

	if (queued)
		dequeue(home, e, e->ready_since);
	if (active)
		deactivate(e);
	e->priority = priority;
	if (active)
		activate(e);
	if (queued)
		enqueue(home, e, e->ready_since);
	if (rq->running == e && !rq->lifted)
		publish(&rq->run, RANK(priority));
	spin_unlock(&rq->lock);
	if (active)
		sched.kick(home);
	invite();
}

/* --- running --- */

/* Moves the first that waits at `from` to `to`, if it should go before what runs or is first there.
 * A whole slice of difference is asked for among equals, so that entities do not bounce. */
static void fetch(uint32_t from, uint32_t to, uint64_t now)
{
	spin_lock(&sched.rq[MIN(from, to)].lock);
	spin_lock(&sched.rq[MAX(from, to)].lock);
	struct sched_entity *e = first(from), *mine = sched.rq[to].running;

	if (!mine)
		mine = first(to);
	if (e && (!mine || e->priority > mine->priority ||
			 (e->priority == mine->priority && behind(e, mine, 1)))) {
		uint64_t since = e->ready_since;

		dequeue(from, e, now);
		__atomic_store_n(&e->home, to, __ATOMIC_RELAXED);
		enqueue(to, e, now);
		e->ready_since = since;
	}
	spin_unlock(&sched.rq[from].lock);
	spin_unlock(&sched.rq[to].lock);
}

/* Fetches the most urgent that waits elsewhere, if it is more so than `rank`. */
static void fetch_urgent(uint32_t self, uint64_t rank, uint64_t now)
{
	uint64_t most = waiting();

	for (uint32_t k = 1; most > rank && k < sched.npcpus; k++) {
		uint32_t i = (self + k) % sched.npcpus;

		if (peek(&sched.rq[i].top) == most) {
			fetch(i, self, now);
			return;
		}
	}
}

/* Fetches what equals have waiting elsewhere and is behind. Of many PCPUs only the next few are
 * looked at, and none is waited for. */
static void balance(uint32_t self, uint64_t now)
{
	struct runqueue *rq = &sched.rq[self];

	rq->balance_at = now + sched.slice;
	for (unsigned k = 0; k < MIN(sched.npcpus, BALANCE_MAX); k++) {
		rq->looked = (rq->looked + 1) % sched.npcpus;
		struct runqueue *other = &sched.rq[rq->looked];
		uint64_t top = peek(&other->top);

		if (other != rq && top != RANK_NONE && top >= MAX(rq->run, rq->top) &&
			!spin_is_locked(&other->lock))
			fetch(rq->looked, self, now);
	}
}

void sched_put(
	uint32_t pcpu, struct sched_entity *e, enum sched_state to, uint64_t wake_at, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	spin_lock(&rq->lock);
	BUG_ON(rq->running != e || e->state != SCHED_RUNNING || to == SCHED_RUNNING);
	account(rq, now);
	rq->running = NULL;
	rq->lifted = false;
	publish(&rq->run, RANK_NONE);
	if (to == SCHED_BLOCKED && (e->wake_latched || wake_at <= now))
		to = SCHED_READY;
	e->wake_latched = false;
	if (to == SCHED_READY)
		enqueue(pcpu, e, now);
	else
		deactivate(e);
	e->state = to;
	refresh(pcpu, now);
	if (to == SCHED_BLOCKED && wake_at != SCHED_NEVER)
		heap_insert(&rq->timers, &e->timer, wake_at);
	spin_unlock(&rq->lock);
}

static void start_running(uint32_t pcpu, struct sched_entity *e, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	/* Another PCPU may have stamped it with a later reading of the clock than ours. */
	if (now > e->ready_since)
		e->wait_ticks += now - e->ready_since;
	e->state = SCHED_RUNNING;
	rq->running = e;
	rq->running_prio = e->priority;
	publish(&rq->since, now);
	publish(&rq->run, rq->lifted ? RANK_LIFTED : RANK(e->priority));
	/* Until sched_contended has decided what it wants to know of. */
	publish(&rq->alarm, rq->run + 1);
	dequeue(pcpu, e, now);
}

struct sched_entity *sched_pick(uint32_t pcpu, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* see invite */
	fetch_urgent(pcpu, peek(&rq->top), now);
	if (now >= rq->balance_at)
		balance(pcpu, now);
	spin_lock(&rq->lock);
	BUG_ON(rq->running);
	rq->lifted = rq->lift_at <= now;
	struct sched_entity *e =
		rq->lifted ? entity_of(heap_min(&sched.root->on[pcpu].ready)) : first(pcpu);

	if (e)
		start_running(pcpu, e, now);
	spin_unlock(&rq->lock);
	if (e)
		invite();
	return e;
}

bool sched_tick(uint32_t pcpu, uint64_t now)
{
	struct runqueue *rq = &sched.rq[pcpu];

	sched_expire(pcpu, now);
	spin_lock(&rq->lock);
	BUG_ON(!rq->running);
	account(rq, now);
	bool over = rq->slice_end <= now;

	if (over) {
		rq->lifted = false;
		publish(&rq->run, RANK(rq->running->priority));
		rq->slice_end = SCHED_NEVER;
	}
	spin_unlock(&rq->lock);
	if (over)
		balance(pcpu, now);
	fetch_urgent(pcpu, MAX(peek(&rq->run), peek(&rq->top)), now);
	spin_lock(&rq->lock);
	bool yield = rq->lift_at <= now || rq->top > rq->run ||
		     (over && rq->top == rq->run && behind(first(pcpu), rq->running, 0));

	refresh_slice(rq, now);
	spin_unlock(&rq->lock);
	return yield;
}

uint64_t sched_deadline(uint32_t pcpu)
{
	struct runqueue *rq = &sched.rq[pcpu];

	spin_lock(&rq->lock);
	struct heap_node *n = heap_min(&rq->timers);
	uint64_t when = MIN(rq->slice_end, rq->lift_at);

	if (n)
		when = MIN(when, n->key);
	spin_unlock(&rq->lock);
	return when;
}

bool sched_contended(uint32_t pcpu)
{
	struct runqueue *rq = &sched.rq[pcpu];

	spin_lock(&rq->lock);
	refresh_slice(rq, rq->since);
	bool slice = rq->slice_end != SCHED_NEVER, contended = slice || waiting() != RANK_NONE;

	publish(&rq->alarm, slice ? rq->run + 1 : contended ? rq->run : RANK_NONE + 1);
	spin_unlock(&rq->lock);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* see invite */
	/* Came meanwhile. */
	if (waiting() >= rq->alarm)
		sched.kick(pcpu);
	return contended;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * <pmbroker.hpp> against the real daemon, of $PMBROKER_SOCKET: compiled with each compiler as each C++, run by
 * test_cxx.py. Ends with 0, or with 1 and a line that says what was not as it should be.
 */

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <scoped_allocator>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <pmbroker.hpp>

#define EXPECT(condition)                                                   \
        do {                                                                \
                if (!(condition)) {                                         \
                        std::printf("line %d: %s\n", __LINE__, #condition); \
                        std::exit(EXIT_FAILURE);                            \
                }                                                           \
        } while (0)

#define FAIL(what)                                                                      \
        do {                                                                            \
                std::printf("line %d: %s, which should have thrown\n", __LINE__, what); \
                std::exit(EXIT_FAILURE);                                                \
        } while (0)

namespace
{

constexpr std::uint64_t MIB = 1 << 20;

template <class T> using Vector = std::vector<T, pmb::allocator<T>>;
using String = std::basic_string<char, std::char_traits<char>, pmb::allocator<char>>;

bool is_in(const pmb::pool &pool, const void *p)
{
        return pmb_pool_of(p) == pool.get();
}

/* ------------------------------------------------------------------------------------------------ properties */

using Traits = std::allocator_traits<pmb::allocator<int>>;

static_assert(!Traits::propagate_on_container_copy_assignment::value, "");
static_assert(Traits::propagate_on_container_move_assignment::value, "");
static_assert(Traits::propagate_on_container_swap::value, "");
static_assert(!Traits::is_always_equal::value, "");
static_assert(std::is_same<Traits::rebind_alloc<char>, pmb::allocator<char>>::value, "");
static_assert(std::is_nothrow_copy_constructible<pmb::allocator<int>>::value, "");
static_assert(!std::is_default_constructible<pmb::allocator<int>>::value, "");
static_assert(std::is_nothrow_move_constructible<pmb::pool>::value, "");
static_assert(std::is_nothrow_move_assignable<pmb::pool>::value, "");
static_assert(!std::is_copy_constructible<pmb::pool>::value, "");
static_assert(std::is_nothrow_move_constructible<pmb::client>::value, "");
static_assert(!std::is_copy_constructible<pmb::client>::value, "");
static_assert(std::is_base_of<std::bad_alloc, pmb::bad_alloc>::value, "");
static_assert(std::is_base_of<std::system_error, pmb::error>::value, "");
static_assert(std::is_nothrow_copy_constructible<pmb::bad_alloc>::value, "");

/* ------------------------------------------------------------------------------------------------ containers */

void containers(pmb::pool &pool)
{
        Vector<int> vector{pool};
        std::deque<int, pmb::allocator<int>> deque{pool};
        std::list<int, pmb::allocator<int>> list{pool};
        std::forward_list<int, pmb::allocator<int>> forward{pool};
        std::set<int, std::less<int>, pmb::allocator<int>> set{pool};
        std::map<int, int, std::less<int>, pmb::allocator<std::pair<const int, int>>> map{pool};
        std::unordered_set<int, std::hash<int>, std::equal_to<int>, pmb::allocator<int>> hashed{pool};
        std::unordered_map<int, int, std::hash<int>, std::equal_to<int>,
                pmb::allocator<std::pair<const int, int>>>
                table{pool};
        String string("longer than any string that needs no memory", pool);

        for (int i = 0; i < 5000; i++) {
                vector.push_back(i);
                deque.push_front(i);
                list.push_back(i);
                forward.push_front(i);
                set.insert(i % 777);
                map[i] = -i;
                hashed.insert(i);
                table[i] = i * i;
                string += 'x';
        }
        EXPECT(std::accumulate(vector.begin(), vector.end(), 0) == 5000 * 4999 / 2);
        EXPECT(std::accumulate(deque.begin(), deque.end(), 0) == 5000 * 4999 / 2);
        EXPECT(set.size() == 777 && hashed.size() == 5000 && map.at(4711) == -4711 && table.at(70) == 4900);
        EXPECT(is_in(pool, vector.data()) && is_in(pool, &deque.front()) && is_in(pool, &list.back()));
        EXPECT(is_in(pool, &forward.front()) && is_in(pool, &*set.begin()) && is_in(pool, &map[3]));
        EXPECT(is_in(pool, &*hashed.begin()) && is_in(pool, &table[3]) && is_in(pool, string.data()));
        EXPECT(string.size() == 5043 && string.compare(0, 6, "longer") == 0);

        list.remove_if([](int i) { return i % 2; });
        map.erase(map.find(100), map.find(4000));
        table.clear();
        EXPECT(list.size() == 2500 && map.size() == 1100);
        list.splice(list.begin(), std::list<int, pmb::allocator<int>>(10, 1, pool));
        EXPECT(list.size() == 2510);

        auto shared = std::allocate_shared<std::pair<int, String>>(
                pmb::allocator<int>(pool), 5, String("somewhat longer than short", pool));
        EXPECT(is_in(pool, shared.get()) && is_in(pool, shared->second.data()));
}

/* What is inside gets the pool of what is outside. */
void nested(pmb::pool &pool, pmb::pool &other)
{
        using Strings = std::vector<String, std::scoped_allocator_adaptor<pmb::allocator<String>>>;
        using Index = std::map<String, Strings, std::less<String>,
                std::scoped_allocator_adaptor<pmb::allocator<std::pair<const String, Strings>>>>;
        const char *text = "a text that is too long to be kept without memory";

        Vector<Vector<int>> plain{pool};
        plain.emplace_back(100, 7, pool);
        plain.push_back(Vector<int>(100, 8, other));
        EXPECT(is_in(pool, plain.data()) && is_in(pool, plain[0].data()) && is_in(other, plain[1].data()));

        Strings strings{pmb::allocator<String>(pool)};
        for (int i = 0; i < 100; i++)
                strings.emplace_back(text);
        strings.push_back(String(text, other));
        for (const String &s : strings)
                EXPECT(is_in(pool, s.data()) && s == text);

        Index index{pmb::allocator<std::pair<const String, Strings>>(pool)};
        for (int i = 0; i < 50; i++) {
                /* Both halves of the pair are made from what has no allocator. */
                index.emplace(std::piecewise_construct, std::forward_as_tuple(text + i % 10),
                        std::forward_as_tuple());
                index.begin()->second.emplace_back(text);
        }
        EXPECT(index.size() == 10);
        for (const auto &entry : index) {
                EXPECT(is_in(pool, &entry) && is_in(pool, entry.first.data()));
                for (const String &s : entry.second)
                        EXPECT(is_in(pool, s.data()));
        }
}

void between_pools(pmb::pool &pool, pmb::pool &other)
{
        Vector<int> a(1000, 1, pool), b(500, 2, other);
        const int *in_pool = a.data(), *in_other = b.data();

        EXPECT(a.get_allocator() == pmb::allocator<char>(pool) && a.get_allocator() != b.get_allocator());
        Vector<int> copied(a);
        EXPECT(is_in(pool, copied.data()) && copied == a);
        Vector<int> elsewhere(a, pmb::allocator<int>(other));
        EXPECT(is_in(other, elsewhere.data()) && elsewhere == a);
        b = a; /* keeps its pool */
        EXPECT(is_in(other, b.data()) && b == a);

        in_other = b.data();
        std::swap(a, b); /* nothing is copied */
        EXPECT(a.data() == in_other && b.data() == in_pool);
        EXPECT(a.get_allocator().get() == other.get());
        a = std::move(b);
        EXPECT(a.data() == in_pool && a.get_allocator().get() == pool.get());
        Vector<int> moved(std::move(a));
        EXPECT(moved.data() == in_pool);
        Vector<int> far(std::move(moved), pmb::allocator<int>(other));
        EXPECT(is_in(other, far.data()) && far.size() == 1000);
}

template <std::size_t Alignment> struct alignas(Alignment) Aligned {
        char bytes[Alignment];
};

template <std::size_t Alignment> void alignment(pmb::pool &pool)
{
        std::vector<Vector<Aligned<Alignment>>> vectors;
        std::list<Aligned<Alignment>, pmb::allocator<Aligned<Alignment>>> list{pool};

        for (std::size_t i = 1; i < 40; i++) {
                vectors.emplace_back(i, pool);
                list.emplace_back();
                EXPECT(reinterpret_cast<std::uintptr_t>(vectors.back().data()) % Alignment == 0);
                EXPECT(reinterpret_cast<std::uintptr_t>(&list.back()) % Alignment == 0);
        }
        for (std::size_t bytes = 1; bytes < 300; bytes += 7) {
                void *p = pool.allocate(bytes, Alignment);

                EXPECT(reinterpret_cast<std::uintptr_t>(p) % Alignment == 0);
                pool.deallocate(p, bytes, Alignment);
        }
}

/* --------------------------------------------------------------------------------------------------- refusals */

void refusals(pmb::client &client, pmb::pool &pool)
{
        try {
                pmb::client nobody("/nonexistent/socket");
                FAIL("connected");
        } catch (const pmb::error &e) {
                EXPECT(e.code().value() == ENOENT && std::strstr(e.what(), "pmbrokerd") &&
                        e.explanation().empty());
        }
        try {
                pmb::pool large(client, std::uint64_t{1} << 40);
                FAIL("created");
        } catch (const std::system_error &e) {
                EXPECT(e.code().value() == EDQUOT && std::strstr(e.what(), "1T"));
        }
        try {
                pool.resize(std::uint64_t{1} << 45);
                FAIL("resized");
        } catch (const pmb::error &e) {
                EXPECT(e.code() == std::errc(EDQUOT) && e.explanation() == pool.explain() &&
                        !pool.explain().empty());
        }

        /* A full pool leaves a container as it was. */
        Vector<std::uint64_t> vector{pool};
        try {
                for (std::uint64_t i = 0;; i++)
                        vector.push_back(i);
        } catch (const pmb::bad_alloc &e) {
                EXPECT(e.errno_value() == ENOMEM && std::strstr(e.what(), " of 16M has ") &&
                        e.what() == pool.explain());
        }
        EXPECT(vector.size() >= 512 * 1024 && vector.back() == vector.size() - 1);
        try {
                vector.reserve(vector.max_size());
                FAIL("reserved");
        } catch (const std::bad_alloc &e) {
                EXPECT(e.what()[0]);
        }
        try {
                (void)pmb::allocator<std::uint64_t>(pool).allocate(SIZE_MAX / 4);
                FAIL("allocated");
        } catch (const std::bad_array_new_length &) {
        }

        pmb_pool_options options{};
        options.size = 2 * MIB;
        options.flags = PMB_POOL_RAW;
        pmb::pool raw(client, options);
        try {
                (void)raw.allocate(1);
                FAIL("allocated");
        } catch (const pmb::bad_alloc &e) {
                EXPECT(e.errno_value() == EINVAL && std::strstr(e.what(), "no heap"));
        }
}

/* ---------------------------------------------------------------------------------------------------- objects */

void objects()
{
        int n_told = 0;
        pmb::client first(nullptr, PMB_CLIENT_NO_THREAD);
        first.set_handler([&](const pmb_event &) { n_told++; });
        pmb::client client(std::move(first));
        EXPECT(client.fd() >= 0 && client.dispatch() == 0 && n_told == 0 && !first.get());

        pmb::pool pool(client, 4 * MIB, "moved");
        void *base = pool.base();
        pmb::pool moved(std::move(pool));
        EXPECT(!pool.get() && moved.base() == base);
        EXPECT(std::strcmp(moved.info().name, "moved") == 0 && moved.info().size == 4 * MIB);
        pool = std::move(moved);
        pool.resize(8 * MIB);
        pool.prefault();
        EXPECT(pool.info().size == 8 * MIB && pool.stats().limit == 8 * MIB);
        EXPECT(pool.trim() == 6 * MIB);
        EXPECT(pool.trim() == 0);
        pool = pmb::pool(client); /* the one before is closed */
        EXPECT(pool.info().max_size >= 64 * MIB && pool.info().size == 8 * MIB);
        client.set_handler(nullptr);

        /* A pool keeps the connection. */
        client = pmb::client();
        pool.resize(10 * MIB);
        EXPECT(pmb_pool_close(pool.release()) == nullptr && !pool.get());
}

void threads(pmb::pool &pool)
{
        std::vector<std::thread> all;

        for (int t = 0; t < 4; t++)
                all.emplace_back([&pool, t] {
                        for (int round = 0; round < 20; round++) {
                                std::map<int, String, std::less<int>,
                                        pmb::allocator<std::pair<const int, String>>>
                                        map{pool};

                                for (int i = 0; i < 300; i++)
                                        map.emplace(i, String(static_cast<std::size_t>(i), 'a', pool));
                                EXPECT(map.at(t).size() == static_cast<std::size_t>(t));
                        }
                });
        for (std::thread &t : all)
                t.join();
}

/* -------------------------------------------------------------------------------------------------- resources */

#ifdef PMB_HAS_MEMORY_RESOURCE

void resources(pmb::pool &pool, pmb::pool &other)
{
        pmb::memory_resource resource(pool), same(pool), another(other);

        EXPECT(resource == same && resource != another && resource != *std::pmr::new_delete_resource());
        {
                std::pmr::vector<std::pmr::string> strings(&resource);
                for (int i = 0; i < 1000; i++)
                        strings.emplace_back("a text that is too long to be kept without memory");
                for (const auto &s : strings)
                        EXPECT(is_in(pool, s.data()));
                std::pmr::unordered_map<int, std::pmr::vector<int>> map(&resource);
                for (int i = 0; i < 1000; i++)
                        map[i % 10].push_back(i);
                EXPECT(is_in(pool, map[3].data()) && map[3].size() == 100);

                std::pmr::monotonic_buffer_resource monotonic(&resource);
                std::pmr::list<int> list(&monotonic);
                list.assign(1000, 5);
                EXPECT(is_in(pool, &list.back()));
                std::pmr::synchronized_pool_resource pooled(&resource);
                std::pmr::deque<int> deque(1000, 6, &pooled);
                EXPECT(is_in(pool, &deque.back()));
        }
        for (std::size_t a = 1; a <= 65536; a *= 2)
                for (std::size_t bytes : {1u, 8u, 24u, 100u, 5000u}) {
                        void *p = resource.allocate(bytes, a);

                        EXPECT(reinterpret_cast<std::uintptr_t>(p) % a == 0);
                        resource.deallocate(p, bytes, a);
                }
        try {
                (void)resource.allocate(64 * MIB);
                FAIL("allocated");
        } catch (const pmb::bad_alloc &e) {
                EXPECT(e.errno_value() == ENOMEM);
        }
}

#else

void resources(pmb::pool &, pmb::pool &)
{
}

#if __cplusplus >= 201703L
#error "this library has no <memory_resource>, which is to be tested"
#endif
#endif

} // namespace

int main()
{
        pmb::client client;
        pmb::pool pool(client, 16 * MIB, "containers"), other(client, 4 * MIB);

        containers(pool);
        nested(pool, other);
        between_pools(pool, other);
        alignment<1>(pool);
        alignment<2>(pool);
        alignment<8>(pool);
        alignment<16>(pool);
        alignment<64>(pool);
        alignment<4096>(pool);
        refusals(client, pool);
        objects();
        threads(pool);
        resources(pool, other);

        /* Nothing is left. */
        EXPECT(pool.stats().blocks == 0 && other.stats().blocks == 0);
        return 0;
}

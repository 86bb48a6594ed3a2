/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PMBROKER_HPP
#define PMBROKER_HPP

/*
 * libpmbroker for C++14 and later: all of it is here, and calls the C functions of <pmbroker.h>, which says what they
 * do. What was refused throws, with the reason.
 *
 *     pmb::client client;
 *     pmb::pool pool(client, 32 << 20);
 *
 *     std::vector<int, pmb::allocator<int>> numbers{pool};
 *
 *     pmb::memory_resource resource(pool);                  // C++17
 *     std::pmr::string text("in the pool", &resource);
 *
 * Pools outlive what is in them: a container must be gone before the pool that it allocates from is. A pool keeps the
 * connection that it was created on; the client object may go before, and its handler goes with it.
 */

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#if __cplusplus >= 201703L && defined(__has_include)
#if __has_include(<memory_resource>)
#include <memory_resource>
#define PMB_HAS_MEMORY_RESOURCE 1
#endif
#endif

#include <pmbroker.h>

namespace pmb
{

/*
 * Something that the daemon, or the kernel, did not do. code() has the errno, what() what was asked for and, where
 * there is one, the sentence that explains the refusal with its numbers, which explanation() has by itself.
 */
class error : public std::system_error
{
public:
        error(int errno_value, const std::string &what, const std::string &explanation = std::string())
            : std::system_error(errno_value, std::generic_category(),
                      explanation.empty() ? what : what + ": " + explanation),
              explanation_(explanation)
        {
        }

        const std::string &explanation() const noexcept
        {
                return explanation_;
        }

private:
        std::string explanation_;
};

/*
 * An allocation that was refused, which is a std::bad_alloc to everybody who knows nothing of pools. what() is
 * pmb_pool_explain()'s sentence, and errno_value() ENOMEM, ESTALE (the pool is dead or revoked) or EINVAL (a raw
 * pool). Takes no memory.
 */
class bad_alloc : public std::bad_alloc
{
public:
        bad_alloc(::pmb_pool *pool, int errno_value) noexcept : errno_(errno_value)
        {
                if (errno_value == ENOMEM)
                        pmb_pool_explain(pool, text_, sizeof(text_));
        }

        const char *what() const noexcept override
        {
                return text_[0]           ? text_
                       : errno_ == ESTALE ? "the pool is dead in this process, or was revoked"
                       : errno_ == EINVAL ? "the pool has no heap"
                                          : "no memory in the pool";
        }

        int errno_value() const noexcept
        {
                return errno_;
        }

private:
        int errno_;
        char text_[400] = "";
};

namespace detail
{

inline std::string explain(::pmb_client *client)
{
        char text[400] = "";

        pmb_client_explain(client, text, sizeof(text));
        return text;
}

inline std::string explain(::pmb_pool *pool)
{
        char text[400] = "";

        pmb_pool_explain(pool, text, sizeof(text));
        return text;
}

/* Every block is aligned to as much as its size, up to this. */
constexpr std::size_t natural_alignment = 16;

inline void *allocate(::pmb_pool *pool, std::size_t bytes, std::size_t alignment)
{
        void *p;

        if (alignment > natural_alignment)
                p = pmb_aligned_alloc(pool, alignment, bytes);
        else
                p = pmb_malloc(pool, bytes < alignment ? alignment : bytes);
        if (!p)
                throw bad_alloc(pool, errno);
        return p;
}

inline void deallocate(::pmb_pool *pool, void *p, std::size_t bytes, std::size_t alignment) noexcept
{
        if (alignment > natural_alignment)
                pmb_free(pool, p);
        else
                pmb_free_sized(pool, p, bytes < alignment ? alignment : bytes);
}

} // namespace detail

/* A connection to the daemon. Can be moved, not copied. */
class client
{
public:
        using handler = std::function<void(const pmb_event &event)>;

        /* As pmb_client_connect(). Throws error. */
        explicit client(const char *socket_path = nullptr, unsigned flags = 0)
        {
                int r = pmb_client_connect(socket_path, flags, &client_);

                if (r < 0)
                        throw error(-r, "cannot connect to pmbrokerd");
        }

        client(client &&other) noexcept
            : client_(std::exchange(other.client_, nullptr)), handler_(std::move(other.handler_))
        {
        }

        client &operator=(client &&other) noexcept
        {
                client moved(std::move(other));

                std::swap(client_, moved.client_);
                std::swap(handler_, moved.handler_);
                return *this;
        }

        client(const client &) = delete;
        client &operator=(const client &) = delete;

        /* When this returns the handler does not run any more, unless it is that which ends the client. */
        ~client()
        {
                if (client_)
                        pmb_client_set_handler(client_, nullptr, nullptr);
                pmb_client_unref(client_);
        }

        /*
         * Have events told, by pmb_client_set_handler()'s rules; an empty one for none. An exception that leaves the
         * handler ends the program.
         */
        void set_handler(handler h)
        {
                std::unique_ptr<handler> next;

                if (h)
                        next = std::make_unique<handler>(std::move(h));
                pmb_client_set_handler(client_, next ? on_event : nullptr, next.get());
                handler_ = std::move(next);
        }

        /* For clients with PMB_CLIENT_NO_THREAD. */
        int fd() const noexcept
        {
                return pmb_client_fd(client_);
        }

        int dispatch()
        {
                int r = pmb_client_dispatch(client_);

                if (r < 0)
                        throw error(-r, "cannot dispatch events");
                return r;
        }

        /* Why the last pool was refused. */
        std::string explain() const
        {
                return detail::explain(client_);
        }

        ::pmb_client *get() const noexcept
        {
                return client_;
        }

private:
        static void on_event(const pmb_event *event, void *userdata) noexcept
        {
                (*static_cast<handler *>(userdata))(*event);
        }

        ::pmb_client *client_ = nullptr;
        std::unique_ptr<handler> handler_; /* its address stays when the client is moved */
};

/* A pool, given back with the object. Can be moved, not copied. */
class pool
{
public:
        /* As pmb_pool_create(). Throws error, with the daemon's reason. */
        pool(client &c, const pmb_pool_options &options)
        {
                int r = pmb_pool_create(c.get(), &options, &pool_);

                if (r < 0)
                        throw error(-r, "cannot create a pool", is_refusal(r) ? c.explain() : std::string());
        }

        /* 0: a pool that grows by itself. */
        explicit pool(client &c, std::uint64_t size = 0, const char *name = nullptr)
            : pool(c, options_of(size, name))
        {
        }

        pool(pool &&other) noexcept : pool_(std::exchange(other.pool_, nullptr))
        {
        }

        pool &operator=(pool &&other) noexcept
        {
                pool moved(std::move(other));

                std::swap(pool_, moved.pool_);
                return *this;
        }

        pool(const pool &) = delete;
        pool &operator=(const pool &) = delete;

        ~pool()
        {
                pmb_pool_close(pool_);
        }

        /* Blocks of any alignment that is a power of two. Throws bad_alloc. */
        void *allocate(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t))
        {
                return detail::allocate(pool_, bytes, alignment);
        }

        /* With the figures that it was allocated with. */
        void deallocate(
                void *p, std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) noexcept
        {
                detail::deallocate(pool_, p, bytes, alignment);
        }

        /* Throws error: EBUSY when not enough was free. */
        void resize(std::uint64_t size)
        {
                check(pmb_pool_resize(pool_, size), "cannot resize the pool");
        }

        /* Returns the bytes that were given back. */
        std::uint64_t trim(std::uint64_t keep = 0)
        {
                return static_cast<std::uint64_t>(check(pmb_pool_trim(pool_, keep), "cannot trim the pool"));
        }

        void prefault(std::uint64_t bytes = 0, unsigned threads = 0)
        {
                check(pmb_pool_prefault(pool_, bytes, threads, nullptr, nullptr),
                        "cannot prefault the pool");
        }

        /* Of a pool that is dead, too. */
        struct ::pmb_pool_info info() const noexcept
        {
                struct ::pmb_pool_info i = {};

                (void)::pmb_pool_info(pool_, &i);
                return i;
        }

        struct ::pmb_pool_stats stats() const noexcept
        {
                struct ::pmb_pool_stats s = {};

                (void)::pmb_pool_stats(pool_, &s);
                return s;
        }

        /* Why the last allocation or resize was refused. */
        std::string explain() const
        {
                return detail::explain(pool_);
        }

        void *base() const noexcept
        {
                return pmb_pool_base(pool_);
        }
        ::pmb_pool *get() const noexcept
        {
                return pool_;
        }

        /* Give up the pool without closing it. */
        ::pmb_pool *release() noexcept
        {
                return std::exchange(pool_, nullptr);
        }

private:
        static pmb_pool_options options_of(std::uint64_t size, const char *name) noexcept
        {
                pmb_pool_options options{};

                options.size = size;
                options.name = name;
                return options;
        }

        static bool is_refusal(int r) noexcept
        {
                return r == -EDQUOT || r == -ENOSPC || r == -ENOENT || r == -EACCES || r == -ENODEV ||
                       r == -EAGAIN;
        }

        template <class Number> Number check(Number r, const char *what) const
        {
                if (r < 0)
                        throw error(static_cast<int>(-r), what,
                                r == -EDQUOT || r == -ENOSPC || r == -EBUSY ? explain() : std::string());
                return r;
        }

        ::pmb_pool *pool_ = nullptr;
};

/*
 * For every container of the standard library, also within each other (std::scoped_allocator_adaptor). A copy of a
 * container is in the same pool. A container that is moved or swapped takes its pool along; one that is assigned to
 * by copying keeps its own.
 */
template <class T> class allocator
{
public:
        using value_type = T;
        using propagate_on_container_copy_assignment = std::false_type;
        using propagate_on_container_move_assignment = std::true_type;
        using propagate_on_container_swap = std::true_type;
        using is_always_equal = std::false_type;

        allocator(pool &p) noexcept : pool_(p.get())
        {
        }
        explicit allocator(::pmb_pool *p) noexcept : pool_(p)
        {
        }
        template <class U> allocator(const allocator<U> &other) noexcept : pool_(other.get())
        {
        }

        /* Throws bad_alloc, or std::bad_array_new_length when the size has no number. */
        T *allocate(std::size_t n)
        {
                if (n > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T))
                        throw std::bad_array_new_length();
                return static_cast<T *>(detail::allocate(pool_, n * sizeof(T), alignof(T)));
        }

        void deallocate(T *p, std::size_t n) noexcept
        {
                detail::deallocate(pool_, p, n * sizeof(T), alignof(T));
        }

        ::pmb_pool *get() const noexcept
        {
                return pool_;
        }

private:
        ::pmb_pool *pool_;
};

template <class T, class U> bool operator==(const allocator<T> &a, const allocator<U> &b) noexcept
{
        return a.get() == b.get();
}

template <class T, class U> bool operator!=(const allocator<T> &a, const allocator<U> &b) noexcept
{
        return a.get() != b.get();
}

#ifdef PMB_HAS_MEMORY_RESOURCE

/* For the containers of std::pmr. */
class memory_resource : public std::pmr::memory_resource
{
public:
        explicit memory_resource(pool &p) noexcept : pool_(p.get())
        {
        }
        explicit memory_resource(::pmb_pool *p) noexcept : pool_(p)
        {
        }

        ::pmb_pool *get() const noexcept
        {
                return pool_;
        }

private:
        void *do_allocate(std::size_t bytes, std::size_t alignment) override
        {
                return detail::allocate(pool_, bytes, alignment);
        }

        void do_deallocate(void *p, std::size_t bytes, std::size_t alignment) override
        {
                detail::deallocate(pool_, p, bytes, alignment);
        }

        bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
        {
                auto same = dynamic_cast<const memory_resource *>(&other);

                return same && same->pool_ == pool_;
        }

        ::pmb_pool *pool_;
};

#endif

} // namespace pmb

#endif

-- For wrk: ask for random keys of the file named by the environment variable KEYS, one a line.
-- Keys must need no percent-encoding (UUIDs do not).

local keys = {}

function init()
    for line in io.lines(os.getenv("KEYS")) do
        keys[#keys + 1] = line
    end
    math.randomseed(os.time())
end

function request()
    return wrk.format("GET", wrk.path .. keys[math.random(#keys)])
end

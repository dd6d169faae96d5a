-- For wrk: ask for random keys of the file named by the environment variable KEYS, one a line.
-- Keys must need no percent-encoding (UUIDs do not). All requests are made before the run, so that
-- choosing one costs nothing and leaves no garbage to collect.

local requests = {}

function init()
    local before, after = wrk.format("GET", wrk.path .. "@"):match("^(.-)@(.*)$")
    for key in io.lines(os.getenv("KEYS")) do
        requests[#requests + 1] = before .. key .. after
    end
    math.randomseed(os.time())
    collectgarbage("collect")
    collectgarbage("stop")
end

function request()
    return requests[math.random(#requests)]
end
